import Platform
import SystemPackage

/// What a memory file holds, found out without reading it.
struct FileContent {
    let pageSize: PageSize
    /// Bytes that exist: the rest, up to the size, are holes.
    let data: UInt64
    /// Runs of data of an ordinary memory file; huge pages otherwise.
    let pieces: Int
    /// Nil where there is no such thing.
    let seals: Seals?

    /// Nil for what is no memory file, and when that cannot be found out.
    init?(_ descriptor: FileDescriptor, _ status: FileStatus, _ kind: FileKind) {
        guard case .memory(let pageSize) = kind else { return nil }
        self.pageSize = pageSize
        seals = try? descriptor.seals()
        do throws(SystemCallError) {
            if pageSize == .base {
                // Looking for data moves the offset, which others share: so on a description of its own.
                let own = try descriptor.reopenedForReading()
                let extents = try dataExtents(of: own.borrowed, size: status.size)
                data = extents.reduce(0) { $0 + $1.length }
                pieces = extents.count
            } else {
                let pages = try HugePageMap.pages(of: descriptor, size: status.size, pageSize: pageSize)
                data = UInt64(pages.count) * pageSize.bytes
                pieces = pages.count
            }
        } catch {
            return nil
        }
    }

    /// Bytes that do not exist.
    func holes(_ status: FileStatus) -> UInt64 { status.size - min(data, status.size) }
}
