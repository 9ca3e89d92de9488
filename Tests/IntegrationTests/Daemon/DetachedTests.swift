// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Sessions that outlive their last close, and are attached again by name.
@Suite struct DetachedTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient

    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
    }

    private func detached(_ name: SessionName) throws -> DaemonClient {
        let session = try client.create(name)
        try session.setDetached(true)
        return session
    }

    @Test("A service restarts without any update: preserve, exit, start, attach, take") func restart() throws {
        let file = try MemoryFile(bytes: [1, 2, 3])
        let identity = file.identity
        let session = try detached("s")
        try session.preserve(file, 1)
        try session.preserve(try MemoryFile(bytes: [4]), 2)
        session.close()
        let again = try daemon.connect()
        #expect(try again.status().sessions.map(\.isAttached) == [false])
        let found = try again.attach("s")
        #expect(try found.name() == "s")
        let taken = try found.take(1)
        #expect(try taken.identity == identity && taken.bytes() == [1, 2, 3])
        #expect(try again.status().sessions.first?.files.map(\.token) == ["2"])
        #expect(try refusal { try found.take(1) } == .noSuchFileOrDirectory)
        try found.preserve(taken, 1)
    }

    @Test("A second attach gets EBUSY, until the first one is closed") func second() throws {
        let session = try detached("s")
        #expect(try refusal { try client.attach("s") } == .resourceBusy)
        session.close()
        let attached = try client.attach("s")
        #expect(try refusal { try daemon.connect().attach("s") } == .resourceBusy)
        attached.close()
        #expect(try client.attach("s").name() == "s")
        #expect(try refusal { try client.attach("t") } == .noSuchFileOrDirectory)
        let other = try client.create("open")
        #expect(try refusal { try client.attach("open") } == .resourceBusy, "it is not detached")
        other.close()
        #expect(try refusal { try client.attach("open") } == .noSuchFileOrDirectory)
    }

    @Test("An incoming session stays detached, too, unfinished and finished") func incoming() throws {
        let file = try MemoryFile()
        try detached("s").preserve(file, 1)
        #expect(try client.change(.update) == nil)
        #expect(try client.status().sessions.map(\.isDetached) == [true])
        let session = try client.retrieveSession("s")
        #expect(try session.retrieve(1).identity == file.identity)
        session.close()
        #expect(try refusal { try client.retrieveSession("s") } == .invalidArgument)
        let again = try client.attach("s")
        #expect(try again.retrieve(1).identity == file.identity)
        try again.finish()
        again.close()
        #expect(try client.status().sessions.map(\.isFinished) == [true])
        let last = try client.attach("s")
        try last.setDetached(false)
        last.close()
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("A session stays detached over updates and orchestrators' deaths, attached or not", arguments: [false, true])
    func updates(isAttached: Bool) throws {
        let file = try MemoryFile()
        let session = try detached("s")
        try session.preserve(file, 1)
        if !isAttached { session.close() }
        #expect(try client.change(.update) == nil)
        if isAttached { #expect(try refusal { try session.name() } == .operationNotSupportedByDevice) }
        // Attaching an incoming session opens it.
        let came = try client.attach("s", .incoming)
        #expect(try came.retrieve(1).identity == file.identity)
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        #expect(try came.retrieve(1).identity == file.identity)
        came.close()
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        #expect(try client.status().sessions.map(\.isDetached) == [true])
        try client.attach("s").finish()
        #expect(try client.change(.update) == nil, "it is finished")
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("The flag selects one of two sessions of one name; by default the outgoing one") func directions() throws {
        let (old, new) = (try MemoryFile(), try MemoryFile())
        try detached("s").preserve(old, 1)
        #expect(try client.change(.update) == nil)
        #expect(try refusal { try client.attach("s", .outgoing) } == .noSuchFileOrDirectory)
        try detached("s").preserve(new, 1)
        for _ in 0..<2 {
            #expect(try client.attach("s", .incoming).retrieve(1).identity == old.identity)
            #expect(try refusal { try client.attach("s", .outgoing).retrieve(1) } == .invalidArgument)
            #expect(try refusal { try client.attach("s").finish() } == .invalidArgument, "the outgoing one")
        }
        let both = (try client.attach("s", .incoming), try client.attach("s", .outgoing))
        #expect(try refusal { try client.attach("s", .incoming) } == .resourceBusy)
        #expect(try both.1.take(1).identity == new.identity)
        try both.1.setDetached(false)
        both.1.close()
        #expect(try refusal { try client.attach("s") } == .resourceBusy, "the incoming one is the only one")
        let body = NameCall("s", word: 3).body
        #expect(try refusal { try client.call(.attachSession, body) } == .invalidArgument)
    }

    @Test("One program can close a session and create one of the same name without EEXIST") func sameName() throws {
        for round in 0..<200 {
            let session = try client.create("s")
            if round % 3 == 0 { try session.preserve(try MemoryFile(size: 0), 1) }
            session.close()
        }
        #expect(try client.status().sessions.isEmpty)
    }
}
