// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// REMOVE_SESSION ends a session by its name.
@Suite struct RemoveSessionTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient

    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
    }

    @Test("A detached session of either direction is removed") func detached() throws {
        let session = try client.create("s")
        try session.setDetached(true)
        try session.preserve(try MemoryFile(), 1)
        session.close()
        #expect(try client.change(.update) == nil)
        let newer = try client.create("s")
        try newer.setDetached(true)
        newer.close()
        #expect(try client.remove("s", flags: UpdateCall.outgoing) == nil)
        #expect(try client.status().sessions.map(\.direction) == ["incoming"])
        #expect(try client.remove("s", flags: UpdateCall.outgoing)?.errno == .noSuchFileOrDirectory)
        #expect(try client.remove("s") == nil)
        #expect(try client.status().sessions.isEmpty)
        #expect(try client.remove("s")?.errno == .noSuchFileOrDirectory)
    }

    @Test(
        "A session that a client holds is EBUSY; after a removal by force that client gets ENODEV",
        arguments: [false, true])
    func held(isIncoming: Bool) throws {
        var session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        if isIncoming {
            #expect(try client.change(.update) == nil)
            session = try client.retrieveSession("s")
        }
        let other = try daemon.connect()
        #expect(try other.remove("s")?.errno == .resourceBusy)
        #expect(try session.name() == "s")
        #expect(try other.remove("s", flags: UpdateCall.force) == nil)
        #expect(try refusal { try session.name() } == .operationNotSupportedByDevice)
        #expect(try client.status().sessions.isEmpty)
        try client.create("s").preserve(file, 1)
        kill(try client.status().orchestrator, SIGKILL)
        #expect(try refusal { try session.name() } == .operationNotSupportedByDevice)
    }

    @Test("An invalid name, and two directions at once, are EINVAL") func invalid() throws {
        #expect(try client.change(.removeSession)?.errno == .invalidArgument)
        let both = UpdateCall.outgoing | UpdateCall.incoming
        #expect(try client.remove("s", flags: both)?.errno == .invalidArgument)
    }
}
