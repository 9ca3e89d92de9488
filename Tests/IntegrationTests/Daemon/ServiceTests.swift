// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// luod as a service: its notifications, and its restart with stored descriptors.
@Suite struct ServiceTests {
    private let manager: ServiceManager

    init() throws {
        manager = try ServiceManager()
        manager.start()
    }

    @Test("It notifies that it is ready, and stores held descriptors; released ones are removed from the store")
    func stores() async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        try await eventually("READY=1", within: 60) { manager.lines.contains("READY=1") }
        #expect(manager.lines.contains("MAINPID=\(daemon.keeper)"))
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        try await eventually("the file in the store", within: 60) { manager.stored(6).count == 1 }
        #expect(try FileStatus(of: try #require(manager.stored(6).first)).identity == file.identity)
        #expect(manager.stored(1).count == 1 && manager.stored(3).count == 1, "the arena, the clients' socket")
        #expect(manager.stored(2).isEmpty, "a control socket is made anew")
        try session.unpreserve(1)
        try await eventually("the end of it", within: 60) { manager.stored(6).isEmpty }
        #expect(try client.change(.update) == nil)
        try await eventually("a status", within: 60) { manager.lines.contains { $0.hasPrefix("STATUS=") } }
    }

    @Test("Keeper and orchestrator die: the stored clients, sessions and requests go on")
    func goesOn() async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        let (client, other) = (try daemon.connect(), try daemon.connect())
        let (session, closed) = (try client.create("s"), try other.create("t"))
        let files = try (0..<3).map { try MemoryFile(bytes: nativeBytes($0)) }
        for token in [0, 1] { try session.preserve(files[token], UInt64(token)) }
        try closed.preserve(files[2], 2)
        try await eventually("all in the store", within: 60) {
            manager.stored(6).count == 3 && manager.stored(5).count == 2 && manager.stored(4).count == 2
        }
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        closed.close()
        let waiting = try session.ask(.get, FileCall(token: 1).body)
        try await daemon.start(passing: manager.stored)
        let (taken, descriptors) = try session.answer(to: waiting)
        #expect(taken.result == 0)
        let came = try MemoryFile(taking: OwnedDescriptor(taking: try #require(descriptors.first)))
        #expect(try came.identity == files[1].identity && came.bytes() == nativeBytes(1))
        // The client of the other session has gone meanwhile.
        let status = try client.status()
        #expect(status.sessions.map(\.name) == ["s"] && status.sessions.first?.files.count == 2)
        #expect(try daemon.connect().status().keeper == daemon.keeper)
        #expect(try client.change(.update) == nil)
        // The file stays in the store while a session has it.
        let again = try client.retrieveSession("s")
        #expect(try again.retrieve(0).identity == files[0].identity)
        try await eventually("nothing else in the store", within: 60) { manager.stored(6).count == 2 }
        again.close()
        try await eventually("nothing at all in the store", within: 60) { manager.stored(6).isEmpty }
    }

    @Test(
        "A program under luoctl run goes on, too, with the same user and the same boot",
        arguments: [0, 1])
    func programGoesOn(updates: Int) async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        for _ in 0..<updates { #expect(try daemon.connect().change(.update) == nil) }
        let pipe = Pipe()
        let next = FileDescriptor(rawValue: pipe.fileHandleForReading.fileDescriptor)
        let program = try daemon.startProbe("foreign", inheriting: next)
        try await eventually("a program that runs", within: 60) { try program.outputSoFar.contains("ready") }
        try await eventually("program and device in the store", within: 60) {
            manager.stored(9).count == 1 && manager.stored(8).count == 1
        }
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        pipe.fileHandleForWriting.write(Data([0, 0]))
        try await daemon.start(passing: manager.stored)
        let ended = try await program.ended()
        #expect(ended.status == 0 && ended.lines.last == "ok", "\(ended)")
        #expect(try daemon.connect().status().sessions.isEmpty, "what it held ended with it")
        #expect(try await daemon.probe("life").status == 0, "the device is open nowhere")
    }

    @Test("On SIGTERM, as in a restart, everything is stored before luod ends") func restarts() async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        let client = try daemon.connect()
        let session = try client.create("s")
        let files = try (0..<50).map { _ in try MemoryFile() }
        for (token, file) in files.enumerated() { try session.preserve(file, UInt64(token)) }
        Glibc.kill(daemon.keeper, SIGTERM)
        try await eventually("its end", within: 60) { daemon.processes.isEmpty }
        #expect(manager.lines.contains("STOPPING=1"))
        #expect(manager.stored(6).count == 50)
        try await daemon.start(passing: manager.stored)
        for token in files.indices { #expect(try session.take(UInt64(token)).identity == files[token].identity) }
    }

    @Test("The clients' socket of a socket unit is used, and stays") func socketActivation() async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        let path = "\(daemon.state)/liveupdate"
        try FileManager.default.removeItem(atPath: path)
        let listener = try MessageSocket.listen(
            at: path, mode: [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
        // This client connects before luod runs, and waits.
        let early = try daemon.connect()
        let status = try early.ask(.ping, WordCall().body)
        let inode = try FileStatus(at: path).identity
        let stored = manager.stored.filter { !$0.name.hasPrefix("luo-3-") }
        try await daemon.start(passing: [("luod.socket", listener.borrowed)] + stored)
        #expect(try early.answer(to: status).0.result == 0)
        #expect(try FileStatus(at: path).identity == inode)
    }

    @Test(
        "A NOTIFY_SOCKET without a reader is logged once, and ignored", arguments: ["/nowhere/notify", "@gone", "odd"])
    func deadManager(path: String) async throws {
        let daemon = try await RunningDaemon(environment: ["NOTIFY_SOCKET=\(path)"])
        let session = try daemon.connect().create("s")
        try session.preserve(try MemoryFile(), 1)
        let said = try daemon.log().split(separator: "\n").filter { $0.contains("NOTIFY_SOCKET") }
        #expect(said.count == 1 && said[0].contains(path), "\(said)")
        #expect(try await daemon.end().status == 0)
    }

    @Test(
        "No number in LISTEN_FDS stops luod",
        arguments: ["2147483647", "99999999999999999999", "-1", "x", "2147483644"])
    func manyPassed(count: String) async throws {
        let state = try TemporaryDirectory()
        let shell = "LISTEN_PID=$$ exec \"$@\""
        let luod = try Program(
            ["/bin/sh", "-c", shell, "sh", Program.path("luod"), "--state", state.path],
            environment: ["LISTEN_FDS=\(count)", "LISTEN_FDNAMES=luo-6-9223372036854775807-0-0-0-0", "WATCHDOG_USEC=x"])
        try await eventually("a luod that is ready", within: 60) { try luod.outputSoFar.contains("ready") }
        Glibc.kill(luod.process, SIGTERM)
        #expect(try await luod.ended().status == 0)
    }

    @Test("A state directory that was moved or removed gets the stored arena, so that its sessions outlive the store")
    func movedState() async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        let session = try daemon.connect().create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        try session.setDetached(true)
        #expect(try await daemon.end().status == 0)
        let old = daemon.state + "-old"
        try FileManager.default.moveItem(atPath: daemon.state, toPath: old)
        defer { try? FileManager.default.removeItem(atPath: old) }
        try await daemon.start(passing: manager.stored)
        #expect(try daemon.log().contains("the state moves here from \(old)/arena"))
        #expect(!FileManager.default.fileExists(atPath: "\(old)/arena"))
        #expect(try session.get(1).identity == file.identity)
        let arena = try FileStatus(at: "\(daemon.state)/arena").identity
        try await eventually("the arena in the store", within: 60) {
            try manager.stored(1).count == 1 && FileStatus(of: manager.stored(1)[0]).identity == arena
        }
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        // The service is stopped, and so its store is emptied.
        for stored in manager.stored(1) { try stored.unlock() }
        try await daemon.start()
        #expect(try daemon.connect().status().sessions.map(\.name) == ["s"])
    }

    @Test("A luod that is killed after it has moved its state begins again with everything that is stored")
    func killedWhileMoving() async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        let session = try daemon.connect().create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        #expect(try await daemon.end().status == 0)
        let old = daemon.state + "-old"
        try FileManager.default.moveItem(atPath: daemon.state, toPath: old)
        defer { try? FileManager.default.removeItem(atPath: old) }
        // The service manager still has the arena of the old directory.
        let stored = try manager.stored.map { (name: $0.name, descriptor: try $0.descriptor.duplicated().release()) }
        defer { for copy in stored { try? copy.descriptor.close() } }
        try await daemon.start(passing: stored)
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        // It may have got the new one by now; a luod that was killed earlier left it without.
        for new in manager.stored(1) { try new.unlock() }
        try await daemon.start(passing: stored)
        #expect(try session.get(1).identity == file.identity)
    }

    @Test("Stored descriptors of a removed state are not used for another state") func otherState() async throws {
        let daemon = try await RunningDaemon(environment: manager.environment)
        try await eventually("the arena in the store", within: 60) { manager.stored(1).count == 1 }
        let session = try daemon.connect().create("s")
        try session.setDetached(true)
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        try FileManager.default.removeItem(atPath: "\(daemon.state)/arena")
        // Another state begins there, without the knowledge of this manager.
        let other = try Program([Program.path("luod"), "--state", daemon.state])
        try await eventually("another luod", within: 60) { try other.outputSoFar.contains("ready") }
        Glibc.kill(other.process, SIGTERM)
        _ = try await other.ended()
        let arena = try FileStatus(of: try #require(manager.stored(1).first)).identity
        try await daemon.start(passing: manager.stored)
        #expect(try daemon.connect().status().sessions.isEmpty)
        try await eventually("the other arena in the store", within: 60) {
            try manager.stored(1).count == 1 && FileStatus(of: manager.stored(1)[0]).identity != arena
        }
    }
}
