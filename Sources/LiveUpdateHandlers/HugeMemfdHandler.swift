public import LiveUpdate
import Platform
public import SystemPackage

/// Preserves hugetlb memory files: memfd_create(2) with `MFD_HUGETLB`, and files of a hugetlbfs mount that have no name
/// any more, which are the same thing.
///
/// As ``MemfdHandler``, and the huge pages that exist are recorded with their page frames, without allocating any: also
/// for sealed and read-only descriptors, and with an empty pool. Its files depend on ``HugeTLB``.
public final class HugeMemfdHandler: FileHandler {
    public let compatible = HugeMemfdRecord.compatible

    /// Makes the handler; it keeps nothing.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        do throws(SystemCallError) {
            guard case .hugetlbfs = try FileSystemKind(of: descriptor) else {
                return .refused(because: "not on huge pages")
            }
            let status = try FileStatus(of: descriptor)
            guard status.isRegular else { return .refused(because: "not a regular file") }
            guard status.links == 0 else {
                return .refused(because: "a file of hugetlbfs that has a name: only those without one are kept")
            }
            _ = try descriptor.seals()
            return .accepted
        } catch {
            return .refused(because: "\(error)")
        }
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let record = try describe(file)
        return try file.storage.store(record.bytes)
    }

    private func describe(_ file: FileContext) throws(LiveUpdateError) -> HugeMemfdRecord {
        let descriptor = try file.keptDescriptor()
        let size: UInt64
        let position: UInt64
        let pageSize: PageSize
        let pages: [HugePage]
        do throws(SystemCallError) {
            size = try FileStatus(of: descriptor).size
            position = UInt64(try descriptor.position())
            pageSize = try Self.pageSize(of: descriptor)
            pages = try HugePageMap.pages(of: descriptor, size: size, pageSize: pageSize)
        } catch {
            throw LiveUpdateError(error, "mapping the huge pages of token \(file.token)")
        }
        return try HugeMemfdRecord(
            size: size, position: position, pages: pages, pageSize: pageSize, in: file.storage)
    }

    private static func pageSize(of descriptor: FileDescriptor) throws(SystemCallError) -> PageSize {
        guard case .hugetlbfs(let bytes) = try FileSystemKind(of: descriptor), let size = PageSize(bytes: bytes) else {
            throw SystemCallError("fstatfs", .invalidArgument)
        }
        return size
    }

    public func unpreserve(_ file: FileContext) {}

    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        var record = try HugeMemfdRecord(at: file.data, in: file.storage)
        guard let moved = try file.movedPosition(size: record.size, position: record.position) else { return file.data }
        record.position = moved
        file.storage.drop(file.data)
        return try file.storage.store(record.bytes)
    }

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        _ = try HugeMemfdRecord(at: file.data, in: file.storage)
        try file.checkKept()
        return .kept
    }

    public func finish(_ file: FileContext) {}
}
