// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// `luoctl reload --keeper` replaces the keeper's program in the same process.
@Suite struct KeeperReloadTests {
    private let room: TemporaryDirectory
    /// A copy of luod, at another path.
    private var copy: String { room.path + "/luod" }

    init() async throws {
        room = try TemporaryDirectory()
        try await install([Program.path("luod")], into: room.path)
    }

    private func program(of process: pid_t) throws -> String {
        try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/exe")
    }

    @Test("Everything goes on under the new program: files, clients, deaths, updates, the lock and the end")
    func goesOn()
        async throws
    {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile(bytes: [1, 2, 3])
        try session.preserve(file, 1)
        #expect(try client.change(.load) == nil)
        let before = try client.status()

        let reloaded = try await luoctl("reload", "--keeper", copy, "--state", daemon.state)
        #expect(reloaded.status == 0, "\(reloaded)")
        #expect(try program(of: daemon.keeper) == copy)
        let after = try client.status()
        #expect(after.keeper == before.keeper && after.orchestrator == before.orchestrator)
        #expect(daemon.processes.count == 2, "the image that was loaded has ended")
        #expect(try program(of: after.orchestrator) == Program.path("luod"))

        #expect(try await daemon.startAnother().status == 69)
        Glibc.kill(after.orchestrator, SIGKILL)
        #expect(try session.get(1).identity == file.identity)
        let other = try MemoryFile(bytes: [4])
        try session.preserve(other, 2)
        #expect(try client.change(.reload, flags: UpdateCall.keeper) == nil, "again, to the same program")
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        #expect(try session.get(2).identity == other.identity)
        #expect(try client.change(.update) == nil)
        let next = try client.retrieveSession("s")
        #expect(try next.retrieve(1).identity == file.identity)
        #expect(try next.retrieve(2).identity == other.identity)
        #expect(try await daemon.end().status == 0)
        #expect(daemon.processes.isEmpty)
    }

    @Test("An image that cannot be the keeper's program is refused, and nothing changes") func refusals() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        func script(_ name: String, _ text: String) async throws -> String {
            _ = try await run(
                ["/bin/sh", "-c", "cat >\"$0\" && chmod 755 \"$0\"", room.file(name)], input: "#!/bin/sh\n\(text)\n")
            return room.file(name)
        }
        let other = try await script(
            "other", "printf 'LUO!\\377\\000\\000\\000\\005\\0009.8.7' >&3\nexec cat <&3 >/dev/null")
        for (image, word) in [
            ("/nowhere", "could not be started"), ("/bin/false", "exit code 1"), (other, "luod 9.8.7 with version 255"),
        ] {
            let refused = try #require(try client.change(.reload, flags: UpdateCall.keeper, image: image))
            #expect(refused.errno == .notSupported && refused.why.contains(word), "\(refused)")
        }
        let silent = try await script("silent", "exec cat <&3 >/dev/null")
        let asker = try daemon.connect()
        // luod accepts this connection now, so that its load comes before the load of the other connection.
        _ = try asker.status()
        try asker.ask(.load, UpdateCall(text: silent).body)
        try await eventually("a load under way", within: 60) { try client.change(.load)?.errno == .resourceBusy }
        #expect(try client.change(.reload, flags: UpdateCall.keeper, image: copy)?.errno == .resourceBusy)
        #expect(try program(of: daemon.keeper) == Program.path("luod"))
        #expect(try session.get(1).identity == file.identity)
        // The request of a client that has gone would not count, so this client stays until here.
        withExtendedLifetime(asker) {}
    }

    @Test("The service manager's store goes on", .timeLimit(.minutes(2))) func service() async throws {
        let manager = try ServiceManager()
        manager.start()
        let daemon = try await RunningDaemon(environment: manager.environment)
        let client = try daemon.connect()
        let session = try client.create("s")
        let files = try (0..<2).map { _ in try MemoryFile() }
        try session.preserve(files[0], 0)
        try await eventually("the file in the store", within: 60) { manager.stored(6).count == 1 }
        #expect(try client.change(.reload, flags: UpdateCall.keeper, image: copy) == nil)
        try session.preserve(files[1], 1)
        try await eventually("both files in the store", within: 60) { manager.stored(6).count == 2 }
        try session.unpreserve(0)
        try await eventually("one file in the store", within: 60) { manager.stored(6).count == 1 }
        #expect(try FileStatus(of: try #require(manager.stored(6).first)).identity == files[1].identity)
    }

    @Test("The gate goes on, and is replaced again when it dies") func gate() async throws {
        let daemon = try await RunningDaemon()
        #expect(try await daemon.probe("exit", "0").status == 0)
        let client = try daemon.connect()
        let gate = try #require(try client.status().processes.last { $0.name == "gate" }).process
        #expect(try client.change(.reload, flags: UpdateCall.keeper, image: copy) == nil)
        #expect(try await daemon.probe("exit", "0").status == 0)
        #expect(try client.status().processes.last { $0.name == "gate" }?.process == gate)
        Glibc.kill(gate, SIGKILL)
        #expect(try await daemon.probe("exit", "0").status == 0)
        let next = try #require(try client.status().processes.last { $0.name == "gate" }).process
        #expect(next != gate)
        #expect(try program(of: next) == Program.path("luod"))
    }
}
