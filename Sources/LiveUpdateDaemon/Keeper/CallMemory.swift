// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The file `calls` of a state: memory for the calls that a gate has taken and not answered (``CallTable``). The gate
/// that uses the memory holds a lock on it.
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
                error.errno == .fileTooLarge ? .noSpace : error.errno,
                "no room for the calls of programs under luoctl run in \(path): \(error.call)",
                remedy: "give the file system of the state more room")
        }
    }

    /// Ends the gate that uses the memory, which may belong to a dead keeper, and opens the memory for the next gate.
    /// Two gates at once would read each other's answers.
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

    /// Replaces the memory by a copy, because the gate that uses the old memory was killed and does not end.
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

    /// Removes the name of an earlier state's memory. The gate of that state may still use the file.
    func forget() { _ = unsafe unlink(path) }
}
