// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The file `arena` of a state. luod finds or makes it, and locks it.
///
/// 1. A luod opens the arena and locks it. The lock decides which luod runs the state.
/// 2. Without an arena, the luod makes one as `arena.new`, locked from the beginning, and renames it to `arena` when it
///    is complete. A kill at any moment leaves either no arena or a complete one.
/// 3. A luod that finds an `arena.new` of a killed luod uses or removes it.
///
/// Two luods may do this at the same time. Only the luod with the lock on `arena.new` renames it to `arena`, and only
/// while there is no `arena`. It opens the file again if the name changed between open(2) and the lock.
struct ArenaFile {
    let path: String
    /// The arena to copy into a new arena. If this is nil, the new arena is empty.
    var source: FileDescriptor?
    private var unfinished: String { path + ".new" }

    /// Opens the arena. If it does not exist, this makes it.
    ///
    /// - Returns: the arena's descriptor. The open file description has the lock.
    /// - Throws: ``StateHeld`` when another process has the lock; ``StartFailure`` when the name belongs to something
    ///   other than a regular file; ArenaError without room for a new arena; EACCES and the other errors of open(2).
    func open() throws -> OwnedDescriptor {
        // Each further attempt means that another process made or removed a file in between.
        for _ in 0..<100 {
            if let found = try existing() { return found }
            if let made = try make() { return made }
        }
        throw StateHeld(why: "\(path) is made and removed by other processes all the time: end those first")
    }

    /// - Returns: nil when no file has that name.
    private func existing() throws -> OwnedDescriptor? {
        try StateDirectory.expectOwnFile(path)
        guard let file = try open(path, O_RDWR) else { return nil }
        try lock(file.borrowed)
        guard isStillThere(file.borrowed, path) else { return nil }
        // A killed luod has left this file. No luod makes another arena while there is one.
        _ = unsafe unlink(unfinished)
        return file
    }

    /// Makes the arena, if there is none.
    ///
    /// - Returns: nil when another luod was faster.
    /// - Throws: as ``open()``.
    func make() throws -> OwnedDescriptor? {
        try StateDirectory.expectOwnFile(unfinished)
        guard let file = try open(unfinished, O_RDWR | O_CREAT) else { return nil }
        try lock(file.borrowed)
        guard isStillThere(file.borrowed, unfinished) else { return nil }
        guard unsafe access(path, F_OK) != 0 else {
            _ = unsafe unlink(unfinished)
            return nil
        }
        do {
            try format(file.borrowed)
        } catch {
            _ = unsafe unlink(unfinished)
            throw error
        }
        guard unsafe rename(unfinished, path) == 0 else { return nil }
        return file
    }

    private func format(_ file: FileDescriptor) throws {
        // A killed luod may have left an incomplete arena.
        try file.setSize(0)
        if let source {
            try file.writeWhole(try source.bytes(at: 0, count: Int(try FileStatus(of: source).size)))
        } else {
            var options = Arena.Options()
            // The orchestrator maps the arena with room to grow. The keeper needs no such room.
            options.limit = options.initialSize
            _ = try Arena.format(try file.duplicated(), options)
        }
        // On a disk the content must be written before the name.
        try systemCall("fsync") { fsync(file.rawValue) }
    }

    /// - Returns: nil when no file has that name.
    private func open(_ path: String, _ flags: CInt) throws(SystemCallError) -> OwnedDescriptor? {
        do throws(SystemCallError) {
            let number = try systemCall("open") { unsafe Glibc.open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600) }
            return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
    }

    private func lock(_ file: FileDescriptor) throws {
        do {
            try file.lockForWriting()
        } catch {
            throw StateHeld(why: "\(path) is in use by another process")
        }
    }

    private func isStillThere(_ file: FileDescriptor, _ path: String) -> Bool {
        guard let opened = try? FileStatus(of: file).identity else { return false }
        return (try? FileStatus(at: path, followingLinks: false).identity) == opened
    }
}
