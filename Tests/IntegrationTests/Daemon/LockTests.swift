// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Locks of held files, and their descriptors with another access mode.
@Suite struct LockTests: LuoctlSuite {
    let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon() }

    private struct Report: Decodable {
        struct Session: Decodable { let files: [File] }
        struct File: Decodable {
            let token: String
            let locks: [String]?
        }
        let sessions: [Session]
    }

    private func locks() async throws -> [String?] {
        try await ctl("status", "--json").json(Report.self).sessions.flatMap(\.files).map { $0.locks?.joined() }
    }

    /// Preserves a locked file, and closes it here.
    ///
    /// - Returns: another description of the file.
    private func locked(_ token: UInt64, in session: DaemonClient) throws -> OwnedDescriptor {
        let file = try MemoryFile()
        try #require(flock(file.descriptor.rawValue, LOCK_EX) == 0)
        try session.preserve(file, token)
        return try file.descriptor.reopened(OpenMode(flags: O_RDWR))
    }

    private func tryLock(_ file: borrowing OwnedDescriptor) -> Bool {
        flock(file.borrowed.rawValue, LOCK_EX | LOCK_NB) == 0
    }

    @Test("A held description has its lock over an update; status shows it; a program that gets the file has it")
    func lockOverAnUpdate() async throws {
        let client = try daemon.connect()
        let session = try client.create("s")
        try session.setDetached(true)
        let other = try locked(1, in: session)
        try session.preserve(MemoryFile(), 2)
        session.close()
        #expect(try await locks() == ["flock exclusive", nil])
        #expect(try await ctl("status", "s").output.contains("token 1: flock exclusive"))
        #expect(tryLock(other) == false)
        expect(try await ctl("update"))
        #expect(try await locks() == ["flock exclusive", nil])
        #expect(tryLock(other) == false)
        let came = try client.retrieveSession("s")
        do {
            let back = try came.retrieveDescriptor(1)
            #expect(FileLock.all(of: back.borrowed).map(\.description) == ["flock exclusive"])
        }
        try came.finish()
        // luod closes the finished files a moment later.
        try await eventually("the end of the lock", within: 60) {
            tryLock(other)
        }
    }

    @Test("A file for reading and writing, and its descriptor for reading only, can both be held") func bothModes()
        throws
    {
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile(bytes: [1, 2, 3])
        let reader = try file.descriptor.reopened(OpenMode(flags: O_RDONLY))
        try session.preserve(file, 1)
        #expect(try refusal { try session.preserve(reader.borrowed, 2) } == .resourceBusy)
        try session.preserve(reader.borrowed, 2, as: .preserveHeld)
        #expect(try client.change(.update) == nil)
        let came = try client.retrieveSession("s")
        for (token, mode) in [(UInt64(1), O_RDWR), (2, O_RDONLY)] {
            let back = try came.retrieveDescriptor(token)
            #expect(fcntl(back.borrowed.rawValue, F_GETFL) & O_ACCMODE == mode)
            _ = back.release()
        }
        try came.finish()
    }
}
