// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Requests that end orchestrators, and processes of luod that do not answer.
///
/// A debug build of luod hangs in a request with a certain name (LUO_TEST_HANG), so that a test can kill it there.
@Suite struct DaemonDeathTests {
    private static let environment = ["LUO_TEST_HANG=1"]

    /// Waits until an orchestrator hangs in a request.
    private func hanging(_ daemon: RunningDaemon) async throws -> pid_t {
        #if arch(x86_64)
            let sleeping = "230 "
        #else
            let sleeping = "115 "
        #endif
        var found: pid_t?
        try await eventually("an orchestrator that hangs", within: 60) {
            found = daemon.processes.first { process in
                let call = try? String(contentsOfFile: "/proc/\(process)/syscall", encoding: .utf8)
                return process != daemon.keeper && call?.hasPrefix(sleeping) == true
            }
            return found != nil
        }
        return try #require(found)
    }

    private func end(_ daemon: RunningDaemon, by signal: CInt, times: Int) async throws {
        for _ in 0..<times {
            let process = try await hanging(daemon)
            Glibc.kill(process, signal)
            try await eventually("its end", within: 60) { !daemon.processes.contains(process) }
        }
    }

    @Test(
        "A request that ends two orchestrators by a fault, or five by SIGKILL, is not repeated",
        arguments: [(SIGSEGV, 2), (SIGABRT, 2), (SIGKILL, 5)])
    func request(signal: CInt, times: Int) async throws {
        let daemon = try await RunningDaemon(environment: Self.environment)
        let client = try daemon.connect()
        let other = try daemon.connect()
        _ = try other.create("kept")
        let tag = try client.ask(.createSession, NameCall("luo-test-hang").body)
        try await end(daemon, by: signal, times: times)
        #expect(try client.answer(to: tag).0.result == -ECANCELED)
        #expect(try daemon.log().contains("it is not done again"))
        let another = try client.create("another request of the same client")
        #expect(try another.name() == "another request of the same client")
    }

    @Test("A committed answer is repeated, even if many orchestrators died before it was sent") func committed()
        async throws
    {
        let daemon = try await RunningDaemon(environment: Self.environment)
        let client = try daemon.connect()
        let tag = try client.ask(.createSession, NameCall("luo-test-wait").body)
        try await end(daemon, by: SIGSEGV, times: 2)
        let (response, descriptors) = try client.answer(to: tag)
        #expect(response.result == 0 && descriptors.count == 1)
        let session = DaemonClient(taking: try #require(descriptors.first))
        #expect(try session.name() == "luo-test-wait")
    }

    @Test("A user with requests that ended four orchestrators waits; other users are served", .requiresRoot) func user()
        async throws
    {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"], environment: Self.environment)
        let root = try daemon.connect()
        let first = try daemon.connect(as: 4711)
        let tag = try first.ask(.createSession, NameCall("luo-test-hang").body)
        try await end(daemon, by: SIGSEGV, times: 2)
        #expect(try first.answer(to: tag).0.result == -ECANCELED)
        let second = try daemon.connect(as: 4711)
        try second.ask(.createSession, NameCall("luo-test-hang").body)
        try await end(daemon, by: SIGSEGV, times: 2)
        _ = try root.create("s")
        #expect(try daemon.log().contains("user 4711 is not served for a minute"))
        let third = try daemon.connect(as: 4711)
        let waiting = try third.ask(.createSession, NameCall("s").body)
        #expect(throws: Refused(errno: .timedOut)) { try third.answer(to: waiting, within: 500) }
        _ = try daemon.connect(as: 4712).create("s")
    }

    // MARK: Silence

    @Test("An orchestrator that does not answer is ended, and another one answers") func silentOrchestrator()
        async throws
    {
        let daemon = try await RunningDaemon(["--silence", "1000"])
        let client = try daemon.connect()
        let session = try client.create("s")
        let stopped = try client.status().orchestrator
        Glibc.kill(stopped, SIGSTOP)
        let file = try MemoryFile(bytes: [1])
        try session.preserve(file, 1)
        #expect(try client.status().orchestrator != stopped)
        #expect(try session.take(1).identity == file.identity)
        #expect(try daemon.log().contains("(process \(stopped)) has not answered for 1000 ms, and is ended"))
    }

    @Test("An orchestrator that does not answer for a moment is named, and goes on") func pausedOrchestrator()
        async throws
    {
        let daemon = try await RunningDaemon(["--silence", "600000"])
        let client = try daemon.connect()
        let stopped = try client.status().orchestrator
        Glibc.kill(stopped, SIGSTOP)
        let tag = try client.ask(.ping, WordCall().body)
        try await eventually("a line in the log", within: 60) {
            try daemon.log().contains("the orchestrator (process \(stopped)) has not answered for 2 s")
        }
        Glibc.kill(stopped, SIGCONT)
        for descriptor in try client.answer(to: tag).1 { try descriptor.close() }
        try await eventually("another line", within: 60) { try daemon.log().contains("answers again") }
        #expect(try client.status().orchestrator == stopped)
    }

    @Test("A keeper that does not answer for a moment is named in log and status, and goes on") func pausedKeeper()
        async throws
    {
        let daemon = try await RunningDaemon(["--silence", "600000"])
        let client = try daemon.connect()
        #expect(try client.status().keeperAnswers)
        Glibc.kill(daemon.keeper, SIGSTOP)
        try await eventually("a line in the status", within: 60) { try !client.status().keeperAnswers }
        #expect(try daemon.log().contains("the keeper (process \(daemon.keeper)) has not answered for 2 s"))
        Glibc.kill(daemon.keeper, SIGCONT)
        try await eventually("the keeper in the status", within: 60) { try client.status().keeperAnswers }
        #expect(try client.change(.update) == nil)
    }

    @Test("A keeper that does not answer is ended, an update fails, and another luod takes its place")
    func silentKeeper()
        async throws
    {
        let daemon = try await RunningDaemon(["--silence", "1000"])
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile(bytes: [1])
        try session.preserve(file, 1)
        Glibc.kill(daemon.keeper, SIGSTOP)
        #expect(try client.change(.update)?.errno == .socketNotConnected)
        #expect(try daemon.log().contains("is ended: start luod on this state to take its place"))
        try await daemon.start()
        #expect(try client.change(.update) == nil)
        #expect(try client.retrieveSession("s").retrieve(1).identity == file.identity)
    }
}
