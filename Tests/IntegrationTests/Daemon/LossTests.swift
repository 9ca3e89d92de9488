// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The log names every loss: the sessions and files that end with luod, and those that the next luod does not find.
@Suite struct LossTests {
    private func lines(_ daemon: RunningDaemon, with word: String) throws -> [Substring] {
        try daemon.log().split(separator: "\n").filter { $0.contains(word) }
    }

    @Test("On SIGTERM luod names the sessions, files and bytes that end; the next start names the lost ones")
    func terminated() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let (held, detached) = (try client.create("held"), try client.create("kept"))
        try detached.setDetached(true)
        let large = try MemoryFile(size: 100 << 20)
        try held.preserve(large, 1)
        for token in [2, 3, 4, 9] as [UInt64] { try detached.preserve(try MemoryFile(), token) }
        let ended = try await daemon.end()
        #expect(ended.status == 0)
        #expect(ended.errors.contains("1 session, 5 files, \(100 << 20 + 4 * 4096) bytes end with luod"), "\(ended)")
        #expect(ended.errors.contains("session \"held\" of user 0: 1 file, \(100 << 20) bytes"), "\(ended)")
        #expect(ended.errors.contains("session \"kept\" of user 0 stays with 0 files, and loses 4 files"), "\(ended)")
        #expect(ended.errors.contains("survive in the arena \(daemon.state)/arena"), "\(ended)")

        try await daemon.start()
        try await eventually("the names of what is lost", within: 60) { try lines(daemon, with: "lost").count == 2 }
        let lost = try lines(daemon, with: "lost").joined(separator: "\n")
        #expect(lost.contains("session \"held\" of user 0 is lost, and with it the file of token 1"), "\(lost)")
        #expect(lost.contains("session \"kept\" of user 0 has lost the files of tokens 2 to 4, 9"), "\(lost)")
        // The next orchestrator loses nothing, and logs no loss a second time.
        kill(try daemon.connect().status().orchestrator, SIGKILL)
        _ = try daemon.connect().status()
        #expect(try lines(daemon, with: "lost").count == 2)
    }

    @Test("A closed terminal ends luod as SIGTERM does, and reaches only the keeper") func hungUp() async throws {
        signal(SIGHUP, SIG_DFL)
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("held")
        try session.preserve(try MemoryFile(), 1)
        let orchestrator = try client.status().orchestrator
        #expect(getpgid(orchestrator) == orchestrator)
        kill(daemon.keeper, SIGHUP)
        try await eventually("what ends", within: 60) { try daemon.log().contains("1 session, 1 file") }
        try await eventually("the end", within: 60) { kill(orchestrator, 0) == -1 }
    }

    @Test("Without a session no loss is logged") func silent() async throws {
        let daemon = try await RunningDaemon()
        _ = try daemon.connect().status()
        let log = try await daemon.end().errors
        #expect(log.split(separator: "\n").allSatisfy { $0.contains(" info ") }, "\(log)")
        try await daemon.start()
        #expect(try daemon.log().split(separator: "\n").allSatisfy { $0.contains("luod serves") })
    }

    @Test("Files in the store of a service manager survive, and the log says so") func stored() async throws {
        let manager = try ServiceManager()
        manager.start()
        let daemon = try await RunningDaemon(environment: manager.environment)
        let session = try daemon.connect().create("s")
        try session.preserve(try MemoryFile(size: 1 << 20), 1)
        let ended = try await daemon.end()
        #expect(
            ended.errors.contains("1 session, 1 file, \(1 << 20) bytes survive in the descriptor store"), "\(ended)")
        #expect(!ended.errors.contains("end with luod"), "\(ended)")
        try await daemon.start(passing: manager.stored)
        #expect(try lines(daemon, with: "lost").isEmpty)
        // The next orchestrator knows of the store, too.
        kill(try daemon.connect().status().orchestrator, SIGKILL)
        _ = try daemon.connect().status()
        #expect(try await daemon.end().errors.contains("descriptor store"))
    }

    @Test("The next start names files that the service manager had not stored") func notStored() async throws {
        let manager = try ServiceManager()
        manager.start()
        let daemon = try await RunningDaemon(environment: manager.environment)
        let session = try daemon.connect().create("s")
        for token in [1, 2] as [UInt64] { try session.preserve(try MemoryFile(), token) }
        try await eventually("all in the store", within: 60) {
            manager.stored(6).count == 2 && manager.stored(5).count == 1
        }
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        let file = try #require(manager.stored.last { $0.name.hasPrefix("luo-6-") })
        try await daemon.start(passing: manager.stored.filter { $0.name != file.name })
        try await eventually("its name", within: 60) {
            try lines(daemon, with: "has lost the file of token 2").count == 1
        }
    }

    @Test("An orchestrator that does not answer delays the end by a second, and the log says so") func stuck()
        async throws
    {
        let daemon = try await RunningDaemon()
        let orchestrator = try daemon.connect().status().orchestrator
        kill(orchestrator, SIGSTOP)
        let began = monotonicNanoseconds()
        let ended = try await daemon.end()
        #expect(ended.status == 0 && ended.errors.contains("the orchestrator does not answer"), "\(ended)")
        #expect(monotonicNanoseconds() - began < 10_000_000_000)
    }

    // MARK: Deaths in a row

    /// Kills serving orchestrators until the next one pauses. Deaths before they serve would lead to a refusal.
    private func killUntilPaused(_ daemon: RunningDaemon) async throws -> pid_t {
        for _ in 0..<40 {
            let before = try lines(daemon, with: "another is started").count
            let orchestrator = try daemon.connect().status().orchestrator
            kill(orchestrator, SIGKILL)
            try await eventually("the next one", within: 60) {
                try lines(daemon, with: "another is started").count > before
                    && daemon.processes.contains { $0 != daemon.keeper && $0 != orchestrator }
            }
            if try lines(daemon, with: "waits 1600 ms").count > 0 { break }
        }
        return try #require(daemon.processes.first { $0 != daemon.keeper })
    }

    @Test("An orchestrator that pauses holds everything: the keeper dies, and nothing is lost") func keeperDiesInPause()
        async throws
    {
        let daemon = try await RunningDaemon()
        let session = try daemon.connect().create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        let waiting = try await killUntilPaused(daemon)
        try await eventually("all in its hands", within: 60) { RunningDaemon.descriptors(of: waiting) > 8 }
        usleep(50_000)
        daemon.killKeeper()
        try await daemon.start()
        let status = try daemon.connect().status()
        #expect(status.orchestrator == waiting && status.keeper == daemon.keeper)
        #expect(try session.take(1).identity == file.identity)
    }

    @Test("While an orchestrator pauses the keeper obeys SIGTERM") func endsInPause() async throws {
        let daemon = try await RunningDaemon()
        _ = try await killUntilPaused(daemon)
        let began = monotonicNanoseconds()
        #expect(try await daemon.end().status == 0)
        #expect(monotonicNanoseconds() - began < 10_000_000_000)
        #expect(daemon.processes.isEmpty)
    }
}
