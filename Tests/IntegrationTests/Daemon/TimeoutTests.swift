// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// `luoctl --timeout` names a luod that does not answer, and waits for a request that takes long.
@Suite struct TimeoutTests {
    private static let commands: [[String]] = [
        ["status"], ["session", "list"], ["session", "create", "s"], ["session", "attach", "s"],
        ["session", "rm", "s"],
        ["preserve", "--session", "s", "--token", "1", "--fd", "0"], ["unpreserve", "--session", "s", "--token", "1"],
        ["retrieve", "--session", "s", "--token", "1", "--", "/bin/true"], ["finish", "--session", "s"], ["load"],
        ["update"], ["reload"], ["stop"], ["run", "--", "/bin/true"],
    ]

    private func luoctl(_ command: [String], _ options: [String]) async throws -> Ended {
        let end = command.firstIndex(of: "--") ?? command.endIndex
        return try await run([Program.path("luoctl")] + command[..<end] + options + command[end...])
    }

    @Test("Each command names the stopped process, and ends with 69", .requiresRoot) func stopped()
        async throws
    {
        let daemon = try await RunningDaemon()
        let orchestrator = try daemon.connect().status().orchestrator
        Glibc.kill(orchestrator, SIGSTOP)
        let options = ["--timeout", "1", "--state", daemon.state]
        try await withThrowingTaskGroup(of: ([String], Ended).self) { group in
            for command in Self.commands {
                group.addTask { (command, try await self.luoctl(command, options)) }
            }
            for try await (command, ended) in group {
                #expect(ended.status == 69, "\(command): \(ended)")
                for word in ["the orchestrator (process \(orchestrator)) is stopped", "may still be done", "ETIMEDOUT"]
                {
                    #expect(ended.errors.contains(word), "\(command), \(word): \(ended)")
                }
                #expect(!ended.errors.contains("\(daemon.keeper)"), "\(command): \(ended)")
            }
        }
        // The requests are still in luod's queues. luod does them if it sees them before the ends of their connections.
        Glibc.kill(orchestrator, SIGCONT)
    }

    @Test("stop does not wait for a keeper that is stopped", .requiresRoot) func stoppedKeeper() async throws {
        let daemon = try await RunningDaemon()
        Glibc.kill(daemon.keeper, SIGSTOP)
        defer { Glibc.kill(daemon.keeper, SIGCONT) }
        let start = monotonicNanoseconds()
        let ended = try await luoctl(["stop"], ["--timeout", "1", "--state", daemon.state])
        #expect(ended.status == 1, "\(ended)")
        #expect(ended.errors.contains("its keeper (process \(daemon.keeper)) is stopped"), "\(ended)")
        #expect(monotonicNanoseconds() - start < 20_000_000_000, "less than without --timeout")
    }

    @Test("Another user gets 69, too, and sees no process of luod") func otherUser() async throws {
        try #require(geteuid() == 0)
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let orchestrator = try daemon.connect().status().orchestrator
        Glibc.kill(orchestrator, SIGSTOP)
        let ended = try await luoctlAsNobody(["status", "--timeout", "1", "--state", daemon.state])
        Glibc.kill(orchestrator, SIGCONT)
        #expect(ended.status == 69 && ended.errors.contains("does not answer"), "\(ended)")
        #expect(try await luoctlAsNobody(["status", "--timeout", "1", "--state", daemon.state]).status == 0)
    }

    @Test("luoctl waits for a request while pings are answered, and then gives up") func pings() async throws {
        let pings = Guarded(0)
        let answersPings = Guarded(true)
        let slow = try FakeDaemon { request in
            if request.number == Call.ping.rawValue {
                pings.with { $0 += 1 }
                if !answersPings.with({ $0 }) { usleep(20_000_000) }
                return [.init(request.answer())]
            }
            usleep(3_500_000)
            return [.init(request.answer(-5))]
        }
        let options = ["--timeout", "1", "--state", slow.state]
        let answered = try await luoctl(["session", "create", "s"], options)
        #expect(answered.status == 1 && answered.errors.contains("EIO"), "\(answered)")
        #expect(pings.with { $0 } == 3)
        answersPings.with { $0 = false }
        let lost = try await luoctl(["session", "create", "s"], options)
        #expect(lost.status == 69 && lost.errors.contains("may still be done"), "\(lost)")
        pings.with { $0 = 0 }
        let patient = try await luoctl(["session", "create", "s"], ["--timeout", "0", "--state", slow.state])
        #expect(patient.status == 1 && pings.with { $0 } == 0, "\(patient)")
    }
}
