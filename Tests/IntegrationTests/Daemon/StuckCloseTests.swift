// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A close in a stuck file system blocks one thread for each user, and no process that serves.
@Suite(.serialized, .requiresRoot, .enabled(if: StuckFileSystem.isMissing == nil)) struct StuckCloseTests {
    /// Lets luod hold a file of such a file system, and release it. Then keeper and orchestrator close it.
    private func stick(_ daemon: DaemonClient, _ system: StuckFileSystem) throws {
        let session = try daemon.create("stuck")
        let file = try system.open()
        try session.preserve(file, 1, as: .preserveHeld)
        try session.unpreserve(1)
        #expect(system.wait(for: .flush, 2))
    }

    @Test("The keeper goes on, and replaces a dead orchestrator that has a waiting thread") func replaced()
        async throws
    {
        let daemon = try await RunningDaemon()
        let system = try StuckFileSystem()
        defer { system.end() }
        let client = try daemon.connect()
        try stick(client, system)
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        let before = try client.status()
        kill(before.orchestrator, SIGKILL)
        let began = monotonicNanoseconds()
        #expect(try session.get(1).identity == file.identity)
        #expect(monotonicNanoseconds() - began < 5_000_000_000)
        let after = try client.status()
        #expect(after.keeper == before.keeper && after.orchestrator != before.orchestrator)
        #expect(try client.change(.update) == nil)
    }

    @Test("A user with stuck closes and endless connects does not lock root out") func flood()
        async throws
    {
        let daemon = try await RunningDaemon([
            "--socket-mode", "0666", "--max-descriptors", "300", "--max-user-descriptors", "20",
        ])
        let system = try StuckFileSystem()
        defer { system.end() }
        let mine = try asUser(nobody) { try LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
        let session = try mine.createSession("stuck")
        let file = try system.open()
        try session.preserveHeld(file, token: 1)
        try session.unpreserve(token: 1)
        #expect(system.wait(for: .flush, 2))
        // The close of each refused connection waits behind the stuck one, and so keeps its descriptor.
        let devices = try (0..<400).compactMap { _ in
            try asUser(nobody) { try? LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
        }
        #expect(devices.count > 20)
        let root = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        #expect(try root.status().sessions.contains { $0.name == "stuck" })
        try root.update()
        #expect(try root.status().updates == 1)
    }

    @Test("A luod that ends with a stuck thread lets the next one begin") func nextBegins() async throws {
        let state = try TemporaryDirectory()
        let arguments = [Program.path("luod"), "--state", state.path]
        let old = try Program(arguments)
        // This process cannot start a program while it holds a file of the file system, because the program would hang
        // in its exec.
        let flag = try TemporaryDirectory()
        let wait = "while test -e \(flag.path)/wait; do sleep 0.02; done; exec \"$@\""
        #expect(FileManager.default.createFile(atPath: flag.path + "/wait", contents: nil))
        let next = try Program(["/bin/sh", "-c", wait, "sh"] + arguments)
        let system = try StuckFileSystem()
        defer { system.end() }
        try await eventually("a luod that is ready", within: 60) { try old.outputSoFar.contains("ready") }
        try stick(try DaemonClient(connectingTo: state.path + "/liveupdate"), system)
        kill(old.process, SIGTERM)
        try await eventually("the end of its service", within: 20) {
            (try? DaemonClient(connectingTo: state.path + "/liveupdate")) == nil
        }
        try FileManager.default.removeItem(atPath: flag.path + "/wait")
        try await eventually("the next one", within: 20) { try next.outputSoFar.contains("ready") || next.hasEnded }
        let said = try next.errorsSoFar
        #expect(try next.outputSoFar.contains("ready"), "\(said)")
        kill(next.process, SIGTERM)
        #expect(try await next.ended().status == 0)
        system.end()
        #expect(try await old.ended().status == 0)
    }
}
