// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Other users are served while a request takes long, and all requests on its session wait for it.
@Suite(.serialized, .requiresRoot) struct LongWorkTests {
    /// A memory file with so many extents that its preserve takes long.
    private func longFile() throws -> MemoryFile {
        let extents = 40_000
        let file = try MemoryFile(size: UInt64(extents) * 8192)
        for extent in 0..<extents { try file.write([1], at: UInt64(extent) * 8192) }
        return file
    }

    /// The longest time, in milliseconds, of a short request by another user while `body` runs.
    private func longestAnswer(_ daemon: RunningDaemon, during body: @escaping @Sendable () throws -> Void) async throws
        -> UInt64
    {
        let other = try asUser(nobody - 1) { try LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
        let session = try other.createSession("short")
        let work = Task.detached { try body() }
        let isDone = Guarded(false)
        Task.detached {
            _ = await work.result
            isDone.with { $0 = true }
        }
        var longest: UInt64 = 0
        while !isDone.with({ $0 }) {
            let file = try MemoryFile()
            let began = monotonicNanoseconds()
            try session.preserve(file.descriptor, token: 1)
            _ = try other.status()
            try session.unpreserve(token: 1)
            longest = max(longest, (monotonicNanoseconds() - began) / 1_000_000)
            try await Task.sleep(nanoseconds: 1_000_000)
        }
        try await work.value
        return longest
    }

    @Test("Long preserves and ends, beside another user's requests, and then an update") func beside()
        async throws
    {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let mine = try asUser(nobody) { try LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
        let file = try longFile()
        let longest = try await longestAnswer(daemon) {
            for round in 0..<5 {
                let session = try mine.createSession("long")
                try session.preserve(file.descriptor, token: 1)
                #expect(failure { try session.preserve(file.descriptor, token: 1) }?.errno == .fileExists)
                // The close is not awaited. The session of the next round has the same name and the same file.
                if round < 4 { session.shutDownForTest() } else { try session.unpreserve(token: 1) }
            }
        }
        // Each preserve takes more than 100 ms.
        #expect(longest < 80)
        try LiveUpdateDevice.luod(state: FilePath(daemon.state)).update()
    }

    @Test("A session of many files ends beside others, and its name is free afterwards") func manyFiles() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let mine = try asUser(nobody) { try LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
        let root = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        for isIncoming in [false, true] {
            let session = try mine.createSession("many")
            for token: UInt64 in 0..<1500 {
                let file = try MemoryFile()
                try session.preserve(file.descriptor, token: token)
            }
            if isIncoming {
                try root.update()
                let incoming = try mine.retrieveSession("many")
                try incoming.finish()
                #expect(failure { _ = try incoming.retrieve(token: 0) }?.errno == .noSuchFileOrDirectory)
                incoming.shutDownForTest()
            }
            session.shutDownForTest()
            let next = try mine.createSession("many")
            #expect(failure { try next.unpreserve(token: 0) }?.errno == .noSuchFileOrDirectory)
            next.shutDownForTest()
        }
    }

    @Test("A client that closes its session while a preserve takes long leaves nothing") func closed() async throws {
        let daemon = try await RunningDaemon()
        let mine = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        let file = try longFile()
        let session = try mine.createSession("gone")
        let preserving = Task.detached { try? session.preserve(file.descriptor, token: 1) }
        try await Task.sleep(nanoseconds: 20_000_000)
        session.shutDownForTest()
        await preserving.value
        let next = try mine.createSession("gone")
        try next.preserve(file.descriptor, token: 1)
        try mine.update()
        try mine.retrieveSession("gone").finish()
    }

    @Test("A removal by force cancels the search of its session", .requiresHugePages(1)) func removed() async throws {
        let daemon = try await RunningDaemon()
        let mine = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        let file = try MemoryFile(taking: try sparseFile(16 << 40))
        let session = try mine.createSession("long")
        let preserving = Task.detached { failure { try session.preserve(file.descriptor, token: 1) } }
        try await Task.sleep(nanoseconds: 20_000_000)
        _ = try LiveUpdateDevice.luod(state: FilePath(daemon.state)).removeSession("long", force: true)
        let error = await preserving.value
        // A request that has not begun yet finds its session ended.
        #expect([.canceled, .operationNotSupportedByDevice].contains(error?.errno))
    }

    @Test("An update waits for long work and for the end of its own user's large session, but not forever")
    func updateBesideEnd() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let other = try daemon.connect(as: nobody)
        let (root, updating) = (try daemon.connect(), try daemon.connect())
        let file = try longFile()
        let large = try root.create("large")
        for token: UInt64 in 0..<300 { try large.preserve(try MemoryFile(), token) }
        let long = try other.create("long")
        // The requests are not awaited: the update and the close come during the first one.
        let preserve = try long.ask(.preserve, FileCall(token: 1).body, file.descriptor)
        sleep(milliseconds: 3)
        let update = try updating.ask(.update, UpdateCall().body)
        sleep(milliseconds: 3)
        large.close()
        // The update interrupts the preserve, unless it is done by then.
        let (preserved, _) = try long.answer(to: preserve, within: 20_000)
        #expect([0, -Errno.operationNotSupportedByDevice.rawValue].contains(preserved.result))
        let (updated, _) = try updating.answer(to: update, within: 20_000)
        #expect(updated.result == 0)
    }
}

extension LongWorkTests {
    /// A file with one huge page. The search of its holes takes about 0.4 seconds per TiB.
    private func sparseFile(_ size: UInt64) throws -> OwnedDescriptor {
        let file = try makeMemoryFile(named: "sparse", size: size, pageSize: .huge2M)
        try file.borrowed.allocate(offset: ((size / 7) >> 21) << 21, length: 1 << 21)
        return file
    }

    @Test(
        "A reload and an update interrupt a search: it is repeated after the reload, and fails after the update",
        .requiresHugePages(2),
        arguments: [
            (Call.reload, 4 << 40, 0), (.update, 64 << 40, -Errno.operationNotSupportedByDevice.rawValue),
        ] as [(Call, UInt64, CInt)])
    func interrupted(_ call: Call, _ size: UInt64, _ result: CInt) async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let (root, other) = (try daemon.connect(), try daemon.connect(as: nobody))
        let file = try sparseFile(size)
        let session = try other.create("sparse")
        let preserve = try session.ask(.preserve, FileCall(token: 1).body, file.borrowed)
        sleep(milliseconds: 100)
        #expect(try root.change(call) == nil)
        let (answer, _) = try session.answer(to: preserve, within: 20_000)
        #expect(answer.result == result)
    }

    @Test(
        "A session that its client closes while an update interrupts its search leaves nothing", .requiresHugePages(1))
    func closedAndInterrupted() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let (root, other) = (try daemon.connect(), try daemon.connect(as: nobody))
        let file = try sparseFile(16 << 40)
        let session = try other.create("sparse")
        _ = try session.ask(.preserve, FileCall(token: 1).body, file.borrowed)
        sleep(milliseconds: 100)
        let update = try root.ask(.update, UpdateCall().body)
        session.close()
        #expect(try root.answer(to: update, within: 20_000).0.result == 0)
        #expect(try root.status().sessions.isEmpty)
    }
}

extension DeviceSession {
    /// Ends the session, as its last close does.
    fileprivate func shutDownForTest() { _ = shutdown(descriptor.rawValue, CInt(SHUT_RDWR)) }
}
