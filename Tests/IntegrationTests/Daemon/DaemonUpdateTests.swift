// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Programs that use a real daemon during updates.
@Suite struct DaemonUpdateTests {
    @Test("Two empty sessions travel, by name and in order, and the old descriptors are dead")
    func emptySessions() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let (a, b) = (try client.create("a"), try client.create("b"))
        #expect(try a.name() == "a")
        #expect(try client.change(.update) == nil)
        #expect(try refusal { try a.name() } == .operationNotSupportedByDevice)
        #expect(try refusal { try b.preserve(try MemoryFile(), 1) } == .operationNotSupportedByDevice)
        #expect(try client.status().sessions.map(\.name) == ["a", "b"])
        for name: SessionName in ["b", "a"] {
            let session = try client.retrieveSession(name)
            #expect(try session.name() == name)
            #expect(try refusal { try client.retrieveSession(name) } == .invalidArgument)
            try session.finish()
            session.close()
            #expect(try refusal { try client.retrieveSession(name) } == .noSuchFileOrDirectory)
        }
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("Three files in two sessions come back as the same files, with and without a load", arguments: [true, false])
    func threeFiles(isLoaded: Bool) async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let files = try (0..<3).map { try MemoryFile(bytes: [UInt8](repeating: UInt8($0), count: 5000)) }
        let (a, b) = (try client.create("a"), try client.create("b"))
        try a.preserve(files[0], 7)
        if isLoaded { #expect(try client.change(.load) == nil) }
        // These files are preserved after the load, and streamed to the waiting image.
        try a.preserve(files[1], .max)
        try b.preserve(files[2], 7)
        let before = try client.status()
        #expect(try client.change(.update) == nil)
        let after = try client.status()
        #expect(after.updates == 1 && after.keeper == before.keeper && after.orchestrator != before.orchestrator)
        for (name, token, file) in [("b", 7, 2), ("a", .max, 1), ("a", 7, 0)] as [(SessionName, UInt64, Int)] {
            let session = try client.retrieveSession(name)
            let came = try session.retrieve(token)
            #expect(came.identity == files[file].identity)
            let (bytes, expected) = (try came.bytes(), try files[file].bytes())
            #expect(bytes == expected)
            #expect(try refusal { try session.retrieve(8) } == .noSuchFileOrDirectory)
            if name == "a", token == UInt64.max {
                #expect(try session.retrieve(7).identity == files[0].identity)
                try session.finish()
                break
            }
            try session.finish()
        }
    }

    @Test(arguments: [500]) func manyFiles(count: Int) async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let files = try (0..<count).map { try MemoryFile(bytes: nativeBytes($0)) }
        for (token, file) in files.enumerated() { try session.preserve(file, UInt64(token)) }
        #expect(try client.change(.update) == nil)
        let came = try client.retrieveSession("s")
        for token in (0..<count).reversed() {
            #expect(try came.retrieve(UInt64(token)).bytes() == nativeBytes(token))
        }
        try came.finish()
    }

    @Test("2,000 sessions, each with a descriptor of its own") func manySessions() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let count = 2000
        let room = getrlimitRoom(atLeast: UInt64(count + 500))
        try #require(room, "descriptors")
        var sessions = try (0..<count).map { try client.create("s\($0)") }
        #expect(try client.change(.update) == nil)
        #expect(try client.status().sessions.map(\.name) == (0..<count).map { "s\($0)" })
        sessions = try (0..<count).map { try client.retrieveSession("s\($0)") }
        for session in sessions { try session.finish() }
        sessions = []
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("A reload replaces the program; sessions, files and clients stay") func reload() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        let before = try client.status()
        #expect(try client.change(.reload) == nil)
        let after = try client.status()
        #expect(after.updates == 0 && after.orchestrator != before.orchestrator)
        #expect(try refusal { try session.preserve(file, 1) } == .fileExists)
        #expect(try session.take(1).identity == file.identity)
    }

    @Test("Unfinished sessions stop an update, until the request discards them") func discard() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        try session.preserve(try MemoryFile(), 1)
        #expect(try client.change(.update) == nil)
        let refused = try #require(try client.change(.update))
        #expect(refused.errno == .resourceBusy && refused.why.contains("\"s\""))
        let came = try client.retrieveSession("s")
        #expect(try came.retrieve(1).identity.inode != 0)
        came.close()
        let other = try client.create("t")
        try other.preserve(try MemoryFile(), 1)
        #expect(try client.change(.update) == nil, "a close of an incoming session finishes it")
        #expect(try client.change(.update, flags: UpdateCall.discard) == nil)
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("Requests that come in a blackout wait, and are answered; a hanging image is called off")
    func waiting() async throws {
        let daemon = try await RunningDaemon(["--patience", "10000"])
        let (client, other) = (try daemon.connect(), try daemon.connect())
        let session = try client.create("s")
        let standby = try daemon.loadedStandby(client)
        let running = try other.status()
        Glibc.kill(standby, SIGSTOP)
        // The request is a reload, because an update would first ask the image to prepare itself, which causes no
        // blackout.
        let update = try client.ask(.reload, UpdateCall().body)
        // This thread does not yield to other tests, because the blackout would be over.
        try #require(try soon(within: 10) { try daemon.waitsForKeeper(running.orchestrator) }, "no blackout")
        let file = try MemoryFile()
        let preserve = try session.ask(.preserve, FileCall(token: 1).body, file.descriptor)
        let create = try other.ask(.createSession, NameCall("t").body)
        let late = try daemon.connect()
        let status = try late.ask(.ping, WordCall().body)
        #expect(!session.descriptor.isReadable(within: 0) && !other.descriptor.isReadable(within: 0))
        #expect(try client.answer(to: update).0.result == -Errno.canceled.rawValue)
        #expect(try session.answer(to: preserve).0.result == 0)
        let (created, descriptors) = try other.answer(to: create)
        #expect(created.result == 0 && descriptors.count == 1)
        #expect(try late.answer(to: status).0.result == 0)
        #expect(try client.change(.update) == nil)
        #expect(try client.status().sessions.map(\.name) == ["s", "t"])
        for descriptor in descriptors { try descriptor.close() }
    }

    @Test("An image that hangs in its preparation is called off, and clients do not wait for it")
    func hangingPreparation() async throws {
        let daemon = try await RunningDaemon(["--patience", "8000"])
        let (client, other) = (try daemon.connect(), try daemon.connect())
        let session = try client.create("s")
        let standby = try daemon.loadedStandby(client)
        Glibc.kill(standby, SIGSTOP)
        let update = try client.ask(.update, UpdateCall().body)
        let before = try other.status()
        try session.preserve(try MemoryFile(), 1)
        #expect(!client.descriptor.isReadable(within: 0), "it was given up before anybody was served")
        let (answer, _) = try client.answer(to: update)
        #expect(answer.result == -Errno.notSupported.rawValue)
        #expect(UpdateCall(answer.body).text.contains("prepare"))
        #expect(try other.status().orchestrator == before.orchestrator)
        #expect(try client.change(.update) == nil)
    }
}

/// Raises the limit on open files if necessary, and returns whether this process may open so many.
func getrlimitRoom(atLeast count: UInt64) -> Bool {
    var limit = rlimit()
    unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    if limit.rlim_cur < count {
        limit.rlim_cur = min(limit.rlim_max, rlim_t(count))
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    return limit.rlim_cur >= count
}
