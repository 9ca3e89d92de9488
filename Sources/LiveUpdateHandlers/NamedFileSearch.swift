// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A search for a file by its path. It reports all that has changed.
///
/// The mount table decides first whether the path is walked, because a file system that does not answer would stop the
/// process.
struct NamedFileSearch {
    private let file: FileContext
    private let record: HugetlbfsFileRecord
    private let table: MountTable
    private let mounts: [Mount]

    /// Prepares a search for a file. The mount table is read if it has changed.
    ///
    /// - Throws: ENOENT without /proc, EMFILE.
    init(_ file: FileContext, _ record: HugetlbfsFileRecord, _ table: MountTable) throws(LiveUpdateError) {
        self.file = file
        self.record = record
        self.table = table
        do {
            mounts = try table.mounts()
        } catch {
            throw LiveUpdateError(error, "looking for \(record.path): reading the mount table")
        }
    }

    /// Opens the file in its recorded mode, at its recorded offset.
    ///
    /// - Throws: as ``find()``, and the errors of open(2).
    func open() throws(LiveUpdateError) -> FileDescriptor {
        let found = try find()
        do throws(SystemCallError) {
            let opened = try found.borrowed.reopened(record.mode)
            try opened.borrowed.setPosition(Int64(record.position))
            return opened.release()
        } catch {
            throw LiveUpdateError(error, "opening \(record.path)")
        }
    }

    /// Finds the file without opening it.
    ///
    /// - Throws: ENOENT when no file has the path, or when no hugetlbfs is mounted there. ESTALE when another
    ///   hugetlbfs, another inode or another size is found at the path, or when the path leads through a file system
    ///   that may ask a server.
    func find() throws(LiveUpdateError) -> OwnedDescriptor {
        do throws(LiveUpdateError) {
            return try findOnce()
        } catch {
            // A found file is the right one with any table. After a failure, a table of another mount namespace is
            // replaced by the table of this thread's namespace.
            guard table.forgetIfForeign() else { throw error }
            return try NamedFileSearch(file, record, table).findOnce()
        }
    }

    private func findOnce() throws(LiveUpdateError) -> OwnedDescriptor {
        let found = try locate()
        let status: FileStatus
        do {
            status = try FileStatus(cached: found.borrowed)
        } catch {
            throw LiveUpdateError(error, "looking at \(record.path)")
        }
        try check(status)
        return found
    }

    private func way(to path: FilePath) -> MountWay { MountWay(path, device: file.identity.device, mounts) }

    private func locate() throws(LiveUpdateError) -> OwnedDescriptor {
        switch way(to: record.path) {
        case .leads(let mounts):
            do {
                return try findFile(record.path, through: mounts)
            } catch {
                throw missing(error, mounts)
            }
        case .asksServer(let type):
            throw elsewhere("a file system of type \(type) is mounted on the way, which may not answer")
        case .otherDevice(let device):
            throw stale(
                "it is on device \(device), and was on \(file.identity.device)",
                whereItWent ?? "another file system is mounted there: mount the one that has the file")
        case .otherType:
            throw noPlace("its path does not lead to it in this mount namespace")
        }
    }

    private func check(_ status: FileStatus) throws(LiveUpdateError) {
        guard status.identity == file.identity else {
            throw stale(
                "it is another file of that name: inode \(status.identity.inode), where \(file.identity.inode) was preserved",
                whereItWent ?? "was it replaced? Move the one that was preserved back")
        }
        guard status.size == record.size else {
            throw stale("it has \(status.size) bytes, and had \(record.size)", "set its size back")
        }
    }

    private func elsewhere(_ why: String) -> LiveUpdateError {
        stale(
            "its path does not lead to it in this mount namespace: \(why)",
            whereItWent ?? "mount the file system that has the file by a path that leads to it here")
    }

    private func stale(_ what: String, _ remedy: String) -> LiveUpdateError {
        LiveUpdateError(.staleNFSFileHandle, "token \(file.token), \(record.path): \(what)", remedy: remedy)
    }

    private func missing(_ error: SystemCallError, _ mounts: [Mount]) -> LiveUpdateError {
        switch error.errno {
        case .noSuchFileOrDirectory: break
        case .improperLink: return elsewhere("another file system was mounted on the way just now")
        case .tooManySymbolicLinkLevels: return elsewhere("a symbolic link is on the way")
        default: return LiveUpdateError(error, "token \(file.token): looking for \(record.path)")
        }
        guard (try? findFile(record.path.removingLastComponent(), through: mounts)) != nil else {
            return noPlace("its directory is not there")
        }
        return LiveUpdateError(
            .noSuchFileOrDirectory, "token \(file.token): nothing is named \(record.path)",
            remedy: whereItWent ?? "was it renamed or removed? Give it its name back")
    }

    private func noPlace(_ why: String) -> LiveUpdateError {
        LiveUpdateError(
            .noSuchFileOrDirectory,
            "token \(file.token): there is no \(record.path), nor hugetlbfs where it was: \(why)",
            remedy: whereItWent ?? "was the file system unmounted, or the directory renamed? Undo that")
    }

    private func identity(at path: FilePath) -> FileIdentity? {
        guard case .leads(let mounts) = way(to: path), let found = try? findFile(path, through: mounts) else {
            return nil
        }
        return try? FileStatus(cached: found.borrowed).identity
    }

    /// The remedy that follows from a descriptor of the file that is still open; nil without one.
    private var whereItWent: String? {
        guard let descriptor = file.descriptor, let status = try? FileStatus(cached: descriptor) else { return nil }
        if status.links == 0 {
            return "it was removed, and lives in its descriptors only: unpreserve it, and preserve it again"
        }
        guard let path = try? descriptor.path() else { return nil }
        if path != record.path, identity(at: path) == file.identity {
            return "it is named \(path) now: rename it back, or preserve it again"
        }
        if path.bytes.ends(with: " (deleted)".utf8) {
            return "the name that it was opened by was removed: open it by another of its names, and preserve that"
        }
        return "it was opened in another mount namespace, or something was unmounted or mounted over it since: "
            + "open it by a path that leads to it here, and preserve that"
    }
}

extension [UInt8] {
    fileprivate func ends(with text: String.UTF8View) -> Bool { suffix(text.count).elementsEqual(text) }
}
