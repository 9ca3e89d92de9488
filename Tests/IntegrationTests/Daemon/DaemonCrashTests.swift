// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Daemons with dying processes, and clients that go at bad moments.
@Suite struct DaemonCrashTests {
    @Test("An orchestrator that dies is replaced; nothing is lost, and clients notice nothing") func orchestrator()
        async throws
    {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile(bytes: [1, 2, 3])
        for round in 0..<20 {
            let before = try client.status()
            Glibc.kill(before.orchestrator, SIGKILL)
            try session.preserve(file, UInt64(round))
            #expect(try session.take(UInt64(round)).identity == file.identity)
        }
        session.close()
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("A keeper that dies is replaced by another luod") func keeper() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile()
        daemon.killKeeper()
        try session.preserve(file, 1)
        #expect(try client.change(.update)?.errno == .socketNotConnected)
        try await daemon.start()
        #expect(try client.status().keeper == daemon.keeper)
        #expect(try await daemon.startAnother().status == 69)
        #expect(try client.change(.update) == nil)
        #expect(try client.retrieveSession("s").retrieve(1).identity == file.identity)
    }

    @Test("A luod that starts before the orchestrator has noticed the keeper's death takes its place, too") func early()
        async throws
    {
        let daemon = try await RunningDaemon()
        let keeper = try RunningProcess(daemon.keeper)
        // These copies keep the keeper's end of the link open.
        let held = (3..<64).compactMap { number in (try? keeper.duplicate(number))?.release() }
        daemon.killKeeper()
        try startThread {
            usleep(100_000)
            for descriptor in held { try? closeDescriptor(descriptor) }
        }
        try await daemon.start()
        #expect(try daemon.connect().status().keeper == daemon.keeper)
    }

    @Test("Answers of an earlier life are not sent, though connections have the same numbers") func staleAnswers()
        async throws
    {
        let daemon = try await RunningDaemon()
        let first = try daemon.connect()
        let tag: UInt64 = 1 << 40
        let created = try first.answer(to: try first.ask(.createSession, NameCall("s").body, tag: tag))
        #expect(created.0.result == 0)
        for descriptor in created.1 { try descriptor.close() }
        let again = try first.answer(to: try first.ask(.createSession, NameCall("s").body, tag: tag + 1))
        for descriptor in again.1 { try descriptor.close() }
        daemon.killEverything()
        try await eventually("the end of all", within: 20) { daemon.processes.isEmpty }
        try await daemon.start()
        let second = try daemon.connect()
        let other = try second.answer(to: try second.ask(.createSession, NameCall("t").body, tag: tag + 1))
        #expect(other.0.result == 0 && other.1.count == 1, "the answer to another request")
        #expect(try daemon.connect().status().sessions.map(\.name) == ["t"])
        for descriptor in other.1 { try descriptor.close() }
    }

    @Test("A client that has gone gets no answer to its update, and neither does the next client")
    func goneAsker() async throws {
        let daemon = try await RunningDaemon(["--patience", "1000"])
        let asker = try daemon.connect()
        let client = try daemon.connect()
        _ = try client.status()
        try asker.ask(.load, UpdateCall(text: try await daemon.silentImage()).body)
        try #require(try soon(within: 60) { try client.change(.load)?.errno == .resourceBusy }, "no update under way")
        asker.close()
        _ = try client.status()
        let other = try daemon.connect()
        _ = try other.status()
        try await eventually("the end of the update", within: 60) { try client.change(.load) == nil }
        #expect(!other.descriptor.isReadable(within: 0), "an answer to what another one asked")
        _ = try other.status()
    }
}
