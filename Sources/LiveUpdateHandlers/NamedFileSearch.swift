import LiveUpdate
import Platform
import SystemPackage

/// Looks for a file by its path, and says what is not as it was.
struct NamedFileSearch {
    private let file: FileContext
    private let record: HugetlbfsFileRecord

    init(_ file: FileContext, _ record: HugetlbfsFileRecord) {
        self.file = file
        self.record = record
    }

    /// Opens it as it was open, at the offset that it had.
    ///
    /// - Throws: as ``find()``, and what open(2) answers.
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

    /// Finds it without opening it.
    ///
    /// - Throws: ENOENT when nothing has its path, ESTALE when something else has: a file system that is not hugetlbfs
    ///   or another mount of it, another inode, another size.
    func find() throws(LiveUpdateError) -> OwnedDescriptor {
        let found = try locate()
        let seen: Seen
        do {
            seen = try Seen(found.borrowed)
        } catch {
            throw LiveUpdateError(error, "looking at \(record.path)")
        }
        try check(seen.status, seen.kind)
        return found
    }

    private struct Seen {
        let status: FileStatus
        let kind: FileSystemKind

        init(_ file: FileDescriptor) throws(SystemCallError) {
            status = try FileStatus(of: file)
            kind = try FileSystemKind(of: file)
        }
    }

    private func look(at path: FilePath) throws(SystemCallError) -> Seen {
        // In two steps: what has no name is closed before it was looked at.
        let found = try findFile(path)
        return try Seen(found.borrowed)
    }

    private func locate() throws(LiveUpdateError) -> OwnedDescriptor {
        do {
            return try findFile(record.path)
        } catch {
            throw missing(error)
        }
    }

    private func check(_ status: FileStatus, _ kind: FileSystemKind) throws(LiveUpdateError) {
        guard case .hugetlbfs = kind else {
            throw stale("it is not on hugetlbfs", whereItWent ?? "was the file system unmounted? Mount it again")
        }
        guard status.identity.device == file.identity.device else {
            throw stale(
                "it is on device \(status.identity.device), and was on \(file.identity.device)",
                whereItWent ?? "another file system is mounted there: mount the one that has the file")
        }
        guard status.identity == file.identity else {
            throw stale(
                "it is another file of that name: inode \(status.identity.inode), where \(file.identity.inode) was preserved",
                whereItWent ?? "was it replaced? Move the one that was preserved back")
        }
        guard status.size == record.size else {
            throw stale("it has \(status.size) bytes, and had \(record.size)", "set its size back")
        }
    }

    private func stale(_ what: String, _ remedy: String) -> LiveUpdateError {
        LiveUpdateError(.staleNFSFileHandle, "token \(file.token), \(record.path): \(what)", remedy: remedy)
    }

    private func missing(_ error: SystemCallError) -> LiveUpdateError {
        guard error.errno == .noSuchFileOrDirectory else {
            return LiveUpdateError(error, "token \(file.token): looking for \(record.path)")
        }
        if case .hugetlbfs = (try? look(at: record.path.removingLastComponent()))?.kind {
            return LiveUpdateError(
                .noSuchFileOrDirectory, "token \(file.token): nothing is named \(record.path)",
                remedy: whereItWent ?? "was it renamed or removed? Give it its name back")
        }
        return LiveUpdateError(
            .noSuchFileOrDirectory, "token \(file.token): there is no \(record.path), nor hugetlbfs where it was",
            remedy: whereItWent ?? "was the file system unmounted, or the directory renamed? Undo that")
    }

    /// What became of it, as far as a descriptor that is still open tells.
    private var whereItWent: String? {
        guard let descriptor = file.descriptor, let status = try? FileStatus(of: descriptor) else { return nil }
        if status.links == 0 {
            return "it was removed, and lives in its descriptors only: unpreserve it, and preserve it anew"
        }
        guard let path = try? descriptor.path() else { return nil }
        if path != record.path, (try? look(at: path))?.status.identity == file.identity {
            return "it is named \(path) now: rename it back, or preserve it anew"
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
