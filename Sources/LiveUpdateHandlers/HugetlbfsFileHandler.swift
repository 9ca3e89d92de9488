public import LiveUpdate
import Platform
public import SystemPackage

/// Preserves files that have a name on a mounted hugetlbfs. They are kept by their descriptor as long as somebody holds
/// it; and when every process of ours has died they are found again by their path, from the arena alone.
///
/// A name can be lost in between: device, inode and size must be those that were preserved, and the error says what is
/// not (ESTALE, ENOENT). That is looked at when the file is preserved and frozen, too, so that it is said while nothing
/// is lost. A file that is unlinked before it is preserved is one for ``HugeMemfdHandler``. Its files depend on
/// ``HugeTLB``.
public final class HugetlbfsFileHandler: FileHandler {
    public let compatible = HugetlbfsFileHandler.format
    /// The compatible string.
    package static let format = HugetlbfsFileRecord.compatible

    private let mountTable = MountTable()

    /// Makes the handler. It keeps nothing but the mount table.
    public init() {}

    private func search(_ file: FileContext, _ record: HugetlbfsFileRecord) throws(LiveUpdateError) -> NamedFileSearch {
        try NamedFileSearch(file, record, mountTable)
    }

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        HugeFile.canPreserve(descriptor, named: true)
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let descriptor = try file.keptDescriptor()
        let mode: OpenMode
        let path: FilePath
        do throws(SystemCallError) {
            mode = try descriptor.openMode()
            path = try descriptor.path()
        } catch {
            throw LiveUpdateError(error, "looking for the name of token \(file.token)")
        }
        let record = HugetlbfsFileRecord(try file.describeHugePages(), mode: mode, path: path)
        _ = try search(file, record).find()
        return try file.storage.store(record.bytes)
    }

    public func unpreserve(_ file: FileContext) {}

    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let data = try file.freeze(HugetlbfsFileRecord.self)
        _ = try search(file, HugetlbfsFileRecord(at: data, in: file.storage)).find()
        return data
    }

    public func freezeObstacle(_ file: FileContext) -> LiveUpdateError? {
        if let obstacle = file.freezeObstacle(HugetlbfsFileRecord.self) { return obstacle }
        do throws(LiveUpdateError) {
            _ = try search(file, HugetlbfsFileRecord(at: file.data, in: file.storage)).find()
            return nil
        } catch {
            return error
        }
    }

    public func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor? {
        try search(file, HugetlbfsFileRecord(at: file.data, in: file.storage)).open()
    }

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        try file.retrieveKept(HugetlbfsFileRecord.self)
    }

    public func finish(_ file: FileContext) {}
}
