// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The offset and the path of a held DAX file at this moment.
struct DaxFileNow {
    let position: UInt64
    let path: FilePath

    /// Looks at the held descriptor.
    ///
    /// - Throws: ESTALE when the size has changed, or when the file has no name any more; EBADF when the file was lost;
    ///   the errors of fstat(2) and readlink(2).
    init(_ file: FileContext, _ record: DaxFileRecord, _ table: MountTable) throws(LiveUpdateError) {
        let descriptor = try file.keptDescriptor()
        let status: FileStatus
        do throws(SystemCallError) {
            status = try FileStatus(of: descriptor)
            position = UInt64(try descriptor.position())
            path = try descriptor.path()
        } catch {
            throw LiveUpdateError(error, "freezing token \(file.token)")
        }
        guard status.size == record.size else {
            throw LiveUpdateError(
                .staleNFSFileHandle,
                "token \(file.token) has \(status.size) bytes, and had \(record.size) when it was preserved",
                remedy: "set its size back, or close the session and preserve the file again")
        }
        guard status.links > 0 else {
            throw LiveUpdateError(
                .staleNFSFileHandle, "token \(file.token), \(record.path): the file was removed",
                remedy: "unpreserve it: the next boot could not find it under another kernel")
        }
        try Self.check(path, of: file.token, leadsTo: status.identity, table)
    }

    /// Checks that the next kernel can find a file by its path. A file that was opened in another mount namespace, or
    /// by a name that was removed, has a path that leads nowhere here.
    ///
    /// - Throws: ESTALE when the path leads to no file, or to another one; the other errors of the search.
    static func check(
        _ path: FilePath, of token: UInt64, leadsTo identity: FileIdentity, _ table: MountTable
    ) throws(LiveUpdateError) {
        let found: FileIdentity?
        do throws(SystemCallError) {
            found = try Self.identity(at: path, try table.mounts())
        } catch {
            switch error.errno {
            // A directory of another user, which this process may enter only at the start under another kernel.
            case .permissionDenied: return
            case .noSuchFileOrDirectory, .notDirectory, .improperLink, .tooManySymbolicLinkLevels: found = nil
            default: throw LiveUpdateError(error, "token \(token): looking for \(path)")
            }
        }
        guard found != identity else { return }
        throw LiveUpdateError(
            .staleNFSFileHandle, "token \(token): the path \(path) does not lead to the file here",
            remedy: "open the file by a name that it has in luod's mount namespace, and preserve that")
    }

    private static func identity(at path: FilePath, _ mounts: [Mount]) throws(SystemCallError) -> FileIdentity? {
        guard case .leads(let way) = MountWay(path, to: DaxFileSystem.names, device: nil, mounts) else { return nil }
        let found = try findFile(path, through: way)
        return try FileStatus(cached: found.borrowed).identity
    }
}

extension DaxFileSystem {
    /// The types as mount(8) calls them.
    fileprivate static let names = Set(allCases.map(\.rawValue))
}

/// A search for a file on DAX by its path, after a restart of the kernel.
///
/// The mount table decides first whether the path is walked, because a file system that does not answer would stop the
/// process.
struct DaxFileSearch {
    private let file: FileContext
    private let record: DaxFileRecord
    private let mounts: [Mount]

    /// Prepares a search.
    ///
    /// - Throws: ENOENT without /proc, EMFILE.
    init(_ file: FileContext, _ record: DaxFileRecord, _ table: MountTable) throws(LiveUpdateError) {
        self.file = file
        self.record = record
        do {
            mounts = try table.mounts()
        } catch {
            throw LiveUpdateError(error, "looking for \(record.path): reading the mount table")
        }
    }

    /// Opens the file in its recorded mode, at its recorded offset.
    ///
    /// - Throws: ENOENT when no file has the path, or when the file system is not mounted there. ESTALE when the file
    ///   at the path differs in file system, inode, generation or size, when it is not on DAX, or when the path leads
    ///   over a symbolic link or through a file system that may ask a server. The errors of open(2).
    func open() throws(LiveUpdateError) -> FileDescriptor {
        // The file may belong to any user. A process that has the right uses it only here.
        try Capabilities.raising(.overridePermissions) { () throws(LiveUpdateError) in try openNow() }
    }

    private func openNow() throws(LiveUpdateError) -> FileDescriptor {
        let found = try locate()
        let opened = try doing { () throws(SystemCallError) in
            // Opening a device or a pipe would have effects.
            guard try FileStatus(cached: found.borrowed).isRegular else {
                throw SystemCallError("open", .staleNFSFileHandle)
            }
            return try found.borrowed.reopened(record.mode)
        }
        let (status, identity) = try doing { () throws(SystemCallError) in
            (try FileStatus(cached: opened.borrowed), try record.type.identity(of: opened.borrowed))
        }
        if let difference = record.difference(from: identity, size: status.size, isDax: status.isDax) {
            throw stale(difference.what, difference.remedy)
        }
        try doing { () throws(SystemCallError) in try opened.borrowed.setPosition(Int64(record.position)) }
        return opened.release()
    }

    private func doing<Value: ~Copyable>(
        _ body: () throws(SystemCallError) -> Value
    ) throws(LiveUpdateError) -> Value {
        do throws(SystemCallError) {
            return try body()
        } catch {
            throw LiveUpdateError(error, "token \(file.token): opening \(record.path)")
        }
    }

    private func locate() throws(LiveUpdateError) -> OwnedDescriptor {
        let way = MountWay(record.path, to: DaxFileSystem.names, device: nil, mounts)
        switch way {
        case .leads(let mounts):
            do {
                return try findFile(record.path, through: mounts)
            } catch {
                throw missing(error)
            }
        case .asksServer(let type):
            throw stale("a file system of type \(type) is mounted on the way, which may not answer")
        case .otherType, .otherDevice:
            throw absent("\(record.path) is on no mounted \(record.type.rawValue) file system", "mount it with -o dax")
        }
    }

    /// The error for a file that is not at its path. If its region or its mount is missing, the error says that.
    private func absent(_ what: String, _ remedy: String) -> LiveUpdateError {
        let region = DaxRegionRecord(memory: record.memory, use: .fileSystem(record.type, mountPoint: nil))
        let obstacle = file.obstacle(on: region, of: record.path)
        return LiveUpdateError(
            .noSuchFileOrDirectory, "token \(file.token): \(obstacle?.reason ?? what)",
            remedy: obstacle?.remedy ?? remedy)
    }

    private func missing(_ error: SystemCallError) -> LiveUpdateError {
        switch error.errno {
        case .noSuchFileOrDirectory:
            absent(
                "no file is named \(record.path)",
                "was it renamed or removed while luod did not run? Give it its name back")
        case .improperLink: stale("another file system was mounted on the way just now")
        case .tooManySymbolicLinkLevels: stale("a symbolic link is on the way")
        default: LiveUpdateError(error, "token \(file.token): looking for \(record.path)")
        }
    }

    private func stale(_ what: String, _ remedy: String = DaxFileRecord.replaced) -> LiveUpdateError {
        LiveUpdateError(.staleNFSFileHandle, "token \(file.token), \(record.path): \(what)", remedy: remedy)
    }
}

extension DaxFileRecord {
    /// The remedy for a file that took the name of the preserved one.
    fileprivate static let replaced = "was it replaced? Move the preserved file back"

    /// The difference between the recorded file and a file that was found at its path; nil when it is the same file.
    func difference(from found: LastingIdentity, size: UInt64, isDax: Bool) -> (what: String, remedy: String)? {
        if found.fileSystem != file.fileSystem {
            return ("it is on another file system", "mount the file system that has the preserved file")
        }
        if found.inode != file.inode {
            return (
                "it is another file of that name: inode \(found.inode), where \(file.inode) was preserved",
                Self.replaced
            )
        }
        if found.generation != file.generation {
            return (
                "it is another file of that name: the preserved file was removed, and its inode \(file.inode) used again",
                "finish the session"
            )
        }
        if !isDax { return ("it is not on DAX now", "mount the file system with -o dax") }
        if size != self.size { return ("it has \(size) bytes, and had \(self.size)", "set its size back") }
        return nil
    }
}
