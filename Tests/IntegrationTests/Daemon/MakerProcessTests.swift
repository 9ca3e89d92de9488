// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The clients of sessions, and the image that a load has made ready, in the status of a running luod.
@Suite struct MakerProcessTests: LuoctlSuite {
    let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon() }

    /// This process as luod sees it.
    private var own: LuodStatus.Client {
        LuodStatus.Client(
            process: getpid(), command: SessionName(bytes: commandBytes(of: getpid())).description)
    }

    @Test("The maker and the time of a session survive kills and an update; the holder is the client that has it open")
    func life() async throws {
        let began = UInt64(clamping: wallClockNanoseconds())
        var client = try daemon.connect()
        let session = try client.create("vm")
        try session.setDetached(true)
        let made = try #require(try client.status().sessions.first)
        #expect(made.maker == own && made.holder == own)
        let since = try #require(made.since)
        #expect((began...UInt64(clamping: wallClockNanoseconds())).contains(since))
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        let after = try #require(try client.status().sessions.first)
        #expect(after.maker == own && after.holder == own && after.since == since)
        session.close()
        #expect(try client.status().sessions.first?.holder == nil)
        // A client with another process attaches it.
        let attached = try await ctl("preserve", "--session", "vm", "--token", "1", "--path", "/proc/self/exe")
        #expect(attached.status == 1, "\(attached)")
        #expect(try client.change(.update) == nil)
        client = try daemon.connect()
        let came = try #require(try client.status().sessions.first)
        #expect(came.maker == own && came.since == since && came.holder == nil)
        let incoming = try client.attach("vm")
        #expect(try client.status().sessions.first?.holder == own)
        expect(
            try await ctl("status"), says: " \(getpid()) (", StatusTimes.day(since))
        expect(try await ctl("status", "vm"), says: "held by \(getpid()) (", "made \(StatusTimes.day(since))", ", by ")
        incoming.close()
        daemon.killEverything()
        try await daemon.start()
        let found = try #require(try daemon.connect().status().sessions.first)
        #expect(found.maker == own && found.since == since && found.holder == nil)
    }

    @Test("A session of another process names that process") func otherProcess() async throws {
        expect(try await ctl("session", "create", "vm"))
        let session = try #require(try daemon.connect().status().sessions.first)
        #expect(session.maker?.command == "luoctl" && session.maker?.process != getpid() && session.holder == nil)
    }

    @Test("A ready image is in the status; its end is a notice, until another load") func ready() async throws {
        let client = try daemon.connect()
        #expect(try client.status().ready == nil)
        let standby = try daemon.loadedStandby(client)
        let ready = try #require(try client.status().ready)
        #expect(ready.process == standby && ready.version == packageVersion && ready.failure == nil)
        #expect(ready.image.isEmpty && ready.since > 0)
        expect(
            try await ctl("status"), says: "healthy", "ready: the image that runs version \(packageVersion), process")
        Glibc.kill(standby, SIGKILL)
        try await eventually("the end of the image", within: 60) { try client.status().ready?.failure != nil }
        let ended = try await ctl("status")
        expect(
            ended, says: "healthy", "notice: the image that luoctl load made ready (the image that runs", "has ended",
            "luoctl load")
        #expect(!ended.output.contains("ready: "))
        #expect(try client.change(.load) == nil)
        #expect(try client.status().ready?.failure == nil)
        #expect(try client.change(.update) == nil)
        #expect(try daemon.connect().status().ready == nil)
    }
}

/// Times in the output of luoctl.
private enum StatusTimes {
    /// The day of a time.
    static func day(_ time: UInt64) -> String { String(wallClockText(Int64(time)).prefix(10)) }
}
