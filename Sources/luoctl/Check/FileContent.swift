// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// The content of a memory file, determined without reading it.
struct FileContent {
    let pageSize: PageSize
    /// The number of bytes that exist. The other bytes, up to the size, are holes.
    let data: UInt64
    /// The number of runs of data in a file on base pages, or the number of huge pages.
    let pieces: Int
    /// Nil if the file cannot have seals.
    let seals: Seals?

    /// Nil if the file is not a memory file, or if its content cannot be determined.
    init?(_ descriptor: FileDescriptor, _ status: FileStatus, _ kind: FileKind) {
        guard case .memory(let pageSize) = kind else { return nil }
        self.pageSize = pageSize
        seals = try? descriptor.seals()
        do throws(SystemCallError) {
            if pageSize == .base {
                // Searching for data moves the offset, which others share, so this uses an open file description of its
                // own.
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

    /// The number of bytes that do not exist.
    func holes(_ status: FileStatus) -> UInt64 { status.size - min(data, status.size) }
}

extension Seals {
    /// The names of the seals as in fcntl(2), without their prefix.
    var names: [String] {
        let all: [(Seals, String)] = [
            (.seal, "seal"), (.shrink, "shrink"), (.grow, "grow"), (.write, "write"), (.futureWrite, "future"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }

    var text: String { isEmpty ? "none" : names.joined(separator: "+") }
}
