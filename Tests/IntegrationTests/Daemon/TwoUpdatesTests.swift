// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Two clients request an update at the same time. One is refused with the reason, and nothing is lost.
@Suite struct TwoUpdatesTests {
    @Test("A second request during the start of the image is refused, and names the first") func whileLoading()
        async throws
    {
        let daemon = try await RunningDaemon(["--patience", "3000"])
        let (client, other) = (try daemon.connect(), try daemon.connect())
        let file = try MemoryFile()
        let session = try client.create("s")
        try session.preserve(file, 1)
        let first = try client.ask(.update, UpdateCall(text: try await daemon.silentImage()).body)
        _ = try other.status()
        for kind in [Call.update, .load, .reload] {
            let refused = try #require(try other.change(kind, flags: kind == .update ? UpdateCall.discard : 0))
            #expect(refused.errno == .resourceBusy)
            #expect(refused.why.hasPrefix("an update by user \(geteuid()), process \(getpid()) has been under way"))
        }
        #expect(try client.answer(to: first).0.result == -Errno.notSupported.rawValue, "the first does not end well")
        #expect(try session.take(1).identity == file.identity)
        #expect(try other.change(.update) == nil)
    }

    @Test("A request that was sent in a blackout is refused afterwards, on an old connection and on a new one")
    func inBlackout() async throws {
        let daemon = try await RunningDaemon()
        let (client, other) = (try daemon.connect(), try daemon.connect())
        let file = try MemoryFile()
        let session = try client.create("s")
        try session.preserve(file, 1)
        let standby = try daemon.loadedStandby(client)
        let running = try client.status()
        Glibc.kill(standby, SIGSTOP)
        let first = try client.ask(.reload, UpdateCall().body)
        try #require(try soon(within: 60) { try daemon.waitsForKeeper(running.orchestrator) }, "no blackout")
        let late = try daemon.connect()
        let call = UpdateCall(times: [monotonicNanoseconds()])
        let second = try other.ask(.update, call.body)
        let third = try late.ask(.update, call.body)
        Glibc.kill(standby, SIGCONT)
        #expect(try client.answer(to: first).0.result == 0)
        for (asker, request) in [(other, second), (late, third)] {
            let answer = try asker.answer(to: request).0
            #expect(answer.result == -Errno.resourceBusy.rawValue)
            let why = UpdateCall(answer.body).text
            let reason = "a reload by user \(geteuid()), process \(getpid()) ran when this was asked for"
            #expect(why.hasPrefix(reason), "\(why)")
        }
        #expect(try client.status().updates == 0)
        #expect(try session.take(1).identity == file.identity)
        #expect(try other.change(.update) == nil, "a request that is sent now is no longer late")
    }

    @Test("A late update with discard loses nothing that the first update handed over") func discarding()
        async throws
    {
        let daemon = try await RunningDaemon()
        let (client, other) = (try daemon.connect(), try daemon.connect())
        let session = try client.create("t")
        try session.preserve(try MemoryFile(), 1)
        let sent = monotonicNanoseconds()
        #expect(try client.change(.update) == nil)
        let call = UpdateCall(flags: UpdateCall.discard, times: [sent])
        #expect(try other.answer(to: try other.ask(.update, call.body)).0.result == -Errno.resourceBusy.rawValue)
        let status = try client.status()
        #expect(status.updates == 1 && status.sessions.map(\.name) == ["t"])
        #expect(try client.retrieveSession("t").retrieve(1).identity.inode != 0)
    }
}
