// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A luod that holds files and cannot read its state. It keeps them, and root can replace its image.
@Suite struct RefusalTests {
    /// Changes the version in the arena's header, which each start checks.
    private func setVersion(_ version: UInt8, of daemon: RunningDaemon) throws -> UInt8 {
        let file = try #require(FileHandle(forUpdatingAtPath: daemon.state + "/arena"))
        try file.seek(toOffset: 8)
        let old = try #require(try file.read(upToCount: 1)?.first)
        try file.seek(toOffset: 8)
        try file.write(contentsOf: [version])
        return old
    }

    private func refusing(_ daemon: RunningDaemon) async throws {
        try await eventually("an orchestrator that refuses", within: 60) {
            try daemon.log().contains("no orchestrator can begin, and what is held stays held")
        }
    }

    @Test("Without its state luod holds everything, refuses new clients, and goes on with a suitable image")
    func damaged() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile(bytes: [1, 2, 3])
        try session.preserve(file, 1)
        let orchestrator = try client.status().orchestrator
        let version = try setVersion(99, of: daemon)
        Glibc.kill(orchestrator, SIGKILL)
        try await refusing(daemon)

        let waiting = try session.ask(.get, FileCall(token: 1).body)
        let root = try daemon.connect()
        #expect(try root.status().refusal?.contains("version") == true)
        #expect(try root.status().sessions.isEmpty)
        #expect(try refusal { try root.create("t") } == .ioError)
        #expect(try refusal { try root.act(as: 4711) } == .ioError)
        #expect(try root.change(.update)?.errno == .ioError)
        let stop = try #require(try root.change(.stop))
        #expect(stop.errno == .resourceBusy && stop.why.contains("1 descriptors of files"), "\(stop)")
        #expect(try root.change(.reload)?.errno == .canceled)
        #expect(!session.descriptor.isReadable(within: 0), "a connection that was there is not read")
        #expect(daemon.processes.count == 2, "no loop, and nothing is left of the reload")

        _ = try setVersion(version, of: daemon)
        #expect(try root.change(.reload) == nil)
        let (answer, descriptors) = try session.answer(to: waiting)
        #expect(answer.result == 0)
        let came = try MemoryFile(taking: OwnedDescriptor(taking: try #require(descriptors.first)))
        #expect(came.identity == file.identity)
        let after = try root.status()
        #expect(after.refusal == nil && after.sessions.map(\.name) == ["s"])
        _ = try root.create("t")
        #expect(try root.change(.update) == nil)
        #expect(try client.retrieveSession("s").retrieve(1).bytes() == [1, 2, 3])
    }

    @Test("Only root may read the status, reload and stop", .requiresRoot) func others() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let client = try daemon.connect()
        try client.create("s").setDetached(true)
        _ = try setVersion(99, of: daemon)
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        try await refusing(daemon)
        let other = try daemon.connect(as: 4711)
        #expect(try refusal { try other.status() } == .ioError)
        for call in [Call.reload, .stop] { #expect(try other.change(call)?.errno == .ioError) }
        #expect(try daemon.connect().change(.stop, flags: UpdateCall.discard) == nil)
        try await eventually("the end", within: 60) { daemon.processes.isEmpty }
    }

    @Test("An orchestrator that dies twice at its start is not started a third time") func deaths() async throws {
        let room = try TemporaryDirectory()
        let trap = room.file("trap")
        let daemon = try await RunningDaemon(environment: ["LUO_TEST_START=\(trap)"])
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        try Data().write(to: URL(fileURLWithPath: trap))
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        try await refusing(daemon)
        try await eventually("the reason in the log", within: 60) {
            try daemon.log().contains("2 orchestrators died before they could serve, at last with signal 6")
        }
        #expect(try refusal { try daemon.connect().create("t") } == .ioError)
        #expect(try daemon.connect().change(.reload) == nil)
        #expect(try session.get(1).identity == file.identity)
        // The row of deaths has ended: one more death does not cause a refusal.
        try FileManager.default.removeItem(atPath: trap)
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        #expect(try session.get(1).identity == file.identity)
    }

    @Test("A luod that a service manager restarts with stored descriptors refuses, too, and is ready") func stored()
        async throws
    {
        let manager = try ServiceManager()
        manager.start()
        let daemon = try await RunningDaemon(environment: manager.environment)
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        try await eventually("the file in the store", within: 60) {
            manager.stored(6).count == 1 && manager.stored(5).count == 1
        }
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        let version = try setVersion(99, of: daemon)
        try await daemon.start(passing: manager.stored)
        let root = try daemon.connect()
        #expect(try root.status().refusal?.contains("version") == true)
        #expect(manager.stored(6).count == 1)
        _ = try setVersion(version, of: daemon)
        #expect(try root.change(.reload) == nil)
        #expect(try session.get(1).identity == file.identity)
    }
}
