import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// The file `calls` of a state: memory for the calls that a gate has taken and not answered (``CallTable``). A lock on it
/// says which gate uses it.
struct CallMemory {
    let path: String

    /// The process that answers the calls of programs under `luoctl run`, if there is one.
    var gate: CInt? {
        guard let file = try? openFile(path) else { return nil }
        return (try? file.borrowed.processThatLocks()) ?? nil
    }

    /// Makes sure that a gate has room to begin with.
    ///
    /// - Throws: ENOSPC when the file system of the state is full.
    func reserve() throws(LiveUpdateError) {
        do throws(SystemCallError) {
            let file = try open()
            try CallTable.reserve(file.borrowed)
        } catch {
            throw LiveUpdateError(
                error.errno == .fileTooLarge ? .noSpace : error.errno, "\(path): \(error.call)",
                remedy: "give the file system of the state more room")
        }
    }

    /// Opens the memory for another gate, after the gate before it has ended: two at once would take each other's answers.
    /// That one may be a gate of a keeper that died.
    ///
    /// - Throws: ENOSPC when the file system of the state is full.
    func openForNextGate() throws(SystemCallError) -> OwnedDescriptor {
        let file = try open()
        try CallTable.reserve(file.borrowed)
        while let holder = try file.borrowed.processThatLocks() {
            guard let gate = try? RunningProcess(holder), try file.borrowed.processThatLocks() == holder else {
                continue
            }
            gate.kill()
            guard gate.waitForEnd(StateDirectory.patience) else { return try copy(file.borrowed) }
        }
        return file
    }

    /// Makes a copy, for a gate that was killed and does not end.
    private func copy(_ old: FileDescriptor) throws(SystemCallError) -> OwnedDescriptor {
        _ = unsafe unlink(path)
        let new = try open(O_EXCL)
        try CallTable.copy(old, to: new.borrowed)
        return new
    }

    private func open(_ flags: CInt = 0) throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("open") {
            unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0o600)
        }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// Removes the memory of an earlier state, with which the gate of that state may go on.
    func forget() { _ = unsafe unlink(path) }
}
