// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// Preserves files that have a name on a mounted hugetlbfs. Such a file is held by its descriptor. When all processes
/// that held it have died, the handler finds it again by its path, from the arena alone.
///
/// A name can be lost in between. Device, inode and size must be those of the preserved file, and the error says which
/// of them differs (ESTALE, ENOENT). The preserve and the freeze check this, too, so that the error comes while nothing
/// is lost. ``HugeMemfdHandler`` takes a file that is unlinked before it is preserved. The files of this handler depend
/// on ``HugeTLB``.
public final class HugetlbfsFileHandler: FileHandler {
    public let compatible = HugetlbfsFileHandler.format
    /// The compatible string.
    package static let format = HugetlbfsFileRecord.compatible

    private let mountTable = MountTable()

    /// Makes the handler. Its only state is the mount table.
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
