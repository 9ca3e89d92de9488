// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import TestSupport
import Testing

/// Examples/CacheService: a service with memory and a socket that luod holds.
@Suite struct CacheServiceTests {
    @Test("A service that is replaced under load loses nothing", .requiresHugePages(2), arguments: [false, true])
    func replaced(withUpdates: Bool) async throws {
        let room = try await Room()
        var service = try room.start()
        #expect(try await room.info().contains(" 0 keys, "))
        let loads = try (0..<2).map { _ in try Program([Program.path("CacheService"), "load", room.socket]) }
        // Each load writes 64 keys.
        while try await !room.info().contains(" 128 keys, ") { try #require(loads.allSatisfy { !$0.hasEnded }) }
        let inode = try await room.info().split(separator: " ").last
        for _ in 0..<3 {
            kill(service.process, SIGTERM)
            let ended = try await service.ended()
            #expect(ended.status == 0, "\(ended)")
            if withUpdates { #expect(try room.daemon.connect().change(.update) == nil) }
            service = try room.start()
            #expect(try await room.info().hasPrefix("process \(service.process), 128 keys, "))
        }
        #expect(try await room.info().split(separator: " ").last == inode, "the same file")
        for load in loads {
            kill(load.process, SIGTERM)
            let ended = try await load.ended()
            #expect(ended.status == 0 && ended.output.hasSuffix("64 values, none lost\n"), "\(ended)")
        }
    }

    @Test("A killed service goes on with all its values", .requiresHugePages(2)) func killed() async throws {
        let room = try await Room()
        let first = try room.start()
        #expect(try await room.ask("set color blue") == "ok")
        first.kill()
        let second = try room.start()
        #expect(try await room.ask("get color") == "blue")
        second.kill()
    }

    @Test("After an update of luod the service's next process finds everything") func updatedBelow() async throws {
        let room = try await Room(["--base-pages"])
        let first = try room.start()
        #expect(try await room.ask("set color blue") == "ok")
        #expect(try room.daemon.connect().change(.update) == nil)
        #expect(try await room.ask("set shape round") == "ok")
        first.kill()
        let second = try room.start()
        #expect(try await room.ask("get color") == "blue")
        #expect(try await room.ask("get shape") == "round")
        second.kill()
    }

    @Test("When luod has ended, too, the service begins again with no data") func lost() async throws {
        let room = try await Room(["--base-pages"])
        let first = try room.start()
        #expect(try await room.ask("set color blue") == "ok")
        first.kill()
        room.daemon.killEverything()
        try await eventually("the end of all", within: 20) { room.daemon.processes.isEmpty }
        try await room.daemon.start()
        let second = try room.start()
        try await eventually("the next one", within: 60) { try second.errorsSoFar.contains("0 keys") }
        #expect(try await room.ask("get color") == "(nothing)")
        #expect(try await room.ask("set color red") == "ok")
        second.kill()
        let third = try room.start()
        try await eventually("the third", within: 60) { try third.errorsSoFar.contains("1 keys") }
        #expect(try await room.ask("get color") == "red")
        third.kill()
    }

    @Test("A second service is refused") func twice() async throws {
        let room = try await Room(["--base-pages"])
        let first = try room.start()
        #expect(try await room.ask("set color blue") == "ok")
        let second = try await room.start().ended()
        #expect(second.status == 1 && second.errors.contains("session \"cache\""), "\(second)")
        #expect(try await room.ask("get color") == "blue")
        first.kill()
    }
}

/// A luod and a directory for the service's socket, for one test.
private final class Room: Sendable {
    let daemon: RunningDaemon
    private let directory: TemporaryDirectory
    private let options: [String]

    init(_ options: [String] = []) async throws {
        daemon = try await RunningDaemon()
        directory = try TemporaryDirectory()
        self.options = options
    }

    var socket: String { directory.file("socket") }

    func start() throws -> Program {
        try Program([Program.path("CacheService"), socket, "--state", daemon.state] + options)
    }

    /// Waits for the socket, because a client can wait in its queue only when it exists. Then sends the request.
    func ask(_ request: String) async throws -> String {
        try await eventually("the service's socket", within: 60) { try directory.names.contains("socket") }
        let ended = try await run([Program.path("CacheServer"), "ask", socket, request])
        #expect(ended.status == 0, "\(ended)")
        return ended.lines.first ?? ""
    }

    func info() async throws -> String { try await ask("info") }
}
