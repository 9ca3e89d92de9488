// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// Preserves files on a DAX file system: ext4 or xfs on persistent memory, mounted with `-o dax`. The memory of such a
/// file keeps its place and its content when the kernel is replaced, so the file survives that, too.
///
/// 1. Preserve records the identity of the file, which a restart of the kernel does not change: the file system, the
///    inode and its generation.
/// 2. Freeze reads the path again, because the file may have been renamed.
/// 3. After an update of the image the held descriptor is the file. Under the next kernel no process holds the file:
///    the handler opens it by its path, and compares its identity and its size with the record.
///
/// If another file has the path, the error names the difference (ESTALE). If no file has the path, the error is ENOENT.
/// The files of this handler depend on ``DaxRegions``.
public final class DaxFileHandler: FileHandler {
    public let compatible = DaxFileHandler.format
    /// The compatible string.
    package static let format = DaxFileRecord.compatible
    public let kernelFate = KernelFate.stays

    private let mountTable = MountTable()

    /// Makes the handler. Its only state is the mount table.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        do throws(SystemCallError) {
            // Neither of these asks a file system: a file system in user space may not answer.
            guard try !descriptor.hasSeals() else { return .refused(because: "a memory file") }
            let status = try FileStatus(cached: descriptor)
            guard status.isRegular else { return .refused(because: "not a regular file") }
            guard status.isDax else { return .refused(because: "not on DAX") }
            guard try fileSystem(of: status) != nil else {
                return .refused(because: "on DAX, but on no ext4 or xfs that is mounted here")
            }
            guard status.links > 0 else {
                return .refused(because: "on DAX, but without a name, by which the next kernel could find it")
            }
            return .accepted
        } catch {
            return .refused(because: "\(error)")
        }
    }

    /// The type of a file's file system; nil when it is none that survives a restart of the kernel.
    private func fileSystem(of status: FileStatus) throws(SystemCallError) -> DaxFileSystem? {
        let mount = try mountTable.mounts().first { $0.device == status.identity.device }
        return mount.flatMap { DaxFileSystem(rawValue: $0.type) }
    }

    public func identity(of descriptor: FileDescriptor) -> FileIdentity? {
        guard let status = try? FileStatus(cached: descriptor), status.isDax, let type = try? fileSystem(of: status)
        else { return nil }
        return try? type.identity(of: descriptor).identity
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let descriptor = try file.keptDescriptor()
        let status: FileStatus
        let type: DaxFileSystem?
        let found: (position: UInt64, file: LastingIdentity?, mode: OpenMode, path: FilePath, extents: [Extent])
        do throws(SystemCallError) {
            status = try FileStatus(cached: descriptor)
            type = try fileSystem(of: status)
            found = (
                UInt64(try descriptor.position()), try type?.identity(of: descriptor), try descriptor.openMode(),
                try descriptor.path(), try descriptor.mappedExtents(size: status.size).map(\.place)
            )
        } catch {
            throw LiveUpdateError(error, "describing the file of token \(file.token)")
        }
        guard let type, let lasting = found.file, let memory = DaxMemory(underFileSystemOn: status.identity.device)
        else {
            throw LiveUpdateError(
                .noSuchAddressOrDevice,
                "token \(file.token): the file system of \(found.path) is in no region of persistent memory "
                    + "that luod sees",
                remedy: "luoctl dax shows the regions; luod must run as root to see their addresses")
        }
        try DaxFileNow.check(found.path, of: file.token, leadsTo: status.identity, mountTable)
        let record = try DaxFileRecord(
            size: status.size, position: found.position, file: lasting, mode: found.mode, memory: memory,
            extents: found.extents, type: type, path: found.path, in: file.storage)
        return try file.storage.store(record.bytes)
    }

    public func unpreserve(_ file: FileContext) {}

    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        var record = try DaxFileRecord(at: file.data, in: file.storage)
        let now = try DaxFileNow(file, record, mountTable)
        guard now.position != record.position || now.path != record.path else { return file.data }
        record.position = now.position
        record.path = now.path
        file.storage.drop(file.data)
        return try file.storage.store(record.bytes)
    }

    public func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)? {
        guard let record = try? DaxFileRecord(at: file.data, in: file.storage) else { return nil }
        let (position, path) = (record.position, record.path)
        let mountTable = mountTable
        return {
            guard let now = try? DaxFileNow(file, record, mountTable) else { return false }
            return now.position == position && now.path == path
        }
    }

    public func freezeObstacle(_ file: FileContext) -> LiveUpdateError? {
        do throws(LiveUpdateError) {
            _ = try DaxFileNow(file, DaxFileRecord(at: file.data, in: file.storage), mountTable)
            return nil
        } catch {
            return error
        }
    }

    public func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor? {
        try DaxFileSearch(file, DaxFileRecord(at: file.data, in: file.storage), mountTable).open()
    }

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        _ = try DaxFileRecord(at: file.data, in: file.storage)
        let descriptor = try file.keptDescriptor()
        guard identity(of: descriptor) == file.identity else {
            throw LiveUpdateError(
                .staleNFSFileHandle, "the held descriptor of token \(file.token) is another file than the preserved one"
            )
        }
        return .kept
    }

    public func finish(_ file: FileContext) {}
}
