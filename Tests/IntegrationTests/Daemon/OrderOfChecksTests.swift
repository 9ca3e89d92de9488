// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Limits are checked after the errors that do not depend on them: a used token, a held file, a used name.
@Suite struct OrderOfChecksTests {
    @Test("Linux 7.0, with 128 files in the session: EEXIST, EBADF, ENOENT and EBUSY come before ENOSPC")
    func filesOfKernel()
        async throws
    {
        let daemon = try await RunningDaemon(["--as-kernel", "7.0"])
        let session = try daemon.connect().create("s")
        let files = try (0..<129).map { _ in try MemoryFile(size: 0) }
        for token in 0..<128 { try session.preserve(files[token], UInt64(token)) }
        try expectOrder(session, full: .noSpace, held: files[0], new: files[128])
    }

    @Test("Linux 7.0, with 819 sessions: EEXIST comes before ENOMEM") func sessionsOfKernel() async throws {
        let daemon = try await RunningDaemon(["--as-kernel", "7.0"])
        let client = try daemon.connect()
        let sessions = try (0..<819).map { try client.create(SessionName(described: "s\($0)")) }
        #expect(try refusal { try client.create("s7") } == .fileExists)
        #expect(try refusal { try client.create("t") } == .noMemory)
        sessions[3].close()
        _ = try client.create("t").name()
    }

    @Test(
        "A user's limits: EEXIST, EBADF, ENOENT and EBUSY come before EDQUOT and EMFILE", .requiresRoot,
        arguments: [("--max-files", Errno.diskQuotaExceeded), ("--max-user-descriptors", .tooManyOpenFiles)])
    func files(option: String, full: Errno) async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", option, "4"])
        let session = try daemon.connect(as: nobody).create("s")
        let files = try (0..<5).map { _ in try MemoryFile() }
        var token: UInt64 = 0
        while try refusal({ try session.preserve(files[Int(token)], token) }) == nil { token += 1 }
        try expectOrder(session, full: full, held: files[0], new: files[4])
    }

    @Test("A user's sessions: EEXIST comes before EUSERS and EMFILE", .requiresRoot) func sessions() async throws {
        for (option, full) in [("--max-sessions", Errno.tooManyUsers), ("--max-user-descriptors", .tooManyOpenFiles)] {
            let daemon = try await RunningDaemon(["--socket-mode", "0666", option, "2"])
            let client = try daemon.connect(as: nobody)
            var held: [DaemonClient] = []
            while let session = try? client.create(SessionName(described: "s\(held.count)")) { held.append(session) }
            #expect(try refusal { try client.create("s0") } == .fileExists)
            #expect(try refusal { try client.create("t") } == full)
        }
    }

    /// Expects the errors of preserve in their order. `full` is the error of the reached limit. `held` is the file of
    /// token 0.
    private func expectOrder(_ session: DaemonClient, full: Errno, held: MemoryFile, new: MemoryFile) throws {
        let directory = try openFile("/")
        #expect(try refusal { try session.preserve(new, 0) } == .fileExists)
        #expect(try refusal { _ = try session.call(.preserve, FileCall(token: 999).body) } == .badFileDescriptor)
        #expect(try refusal { try session.preserve(directory.borrowed, 999) } == .noSuchFileOrDirectory)
        #expect(try refusal { try session.preserve(held, 999) } == .resourceBusy)
        #expect(try refusal { try session.preserve(new, 999) } == full)
    }
}
