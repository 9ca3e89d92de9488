// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// At the arena's limit new objects are refused with ENOSPC and leave nothing behind. Existing objects go on.
@Suite struct LimitTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let flb = TestFLB()
    private let boot: Orchestrator

    init() throws {
        machine = try Machine(Arena.Options(initialSize: 4096, limit: 192 << 10))
        boot = try machine.boot(.nextBoot, handler, flb)
    }

    /// Preserves files until there is no more room, each in a session of its own with a long name.
    private func fill() throws -> (sessions: [Session], refused: Errno?) {
        var sessions: [Session] = []
        for number in 0..<5000 {
            let name = SessionName(String(repeating: "n", count: 58) + String(10000 + number))
            do {
                let session = try boot.createSession(name)
                sessions.append(session)
                let file = try MemoryFile(size: 0)
                try session.preserve(file.descriptor, token: 1)
            } catch let error as LiveUpdateError {
                return (sessions, error.errno)
            }
        }
        return (sessions, nil)
    }

    @Test("A preserve with a failed commit is undone: unpreserved, counted down, its descriptor released")
    func failedCommit() throws {
        let (sessions, refused) = try fill()
        #expect(refused == .noSpace)
        #expect(sessions.count > 50)
        handler.clear()
        // Commits get smaller until none fits. Then the preserve itself meets the limit.
        let last = try #require(sessions.last)
        var token: UInt64 = 100
        var error: LiveUpdateError?
        while error == nil {
            token += 1
            let file = try MemoryFile(size: 0)
            error = failure { try last.preserve(file.descriptor, token: token) }
            guard error != nil else { continue }
            #expect(error?.errno == .noSpace)
            #expect(error?.remedy?.contains("limit") == true)
            #expect([String](handler.calls.suffix(2)) == ["preserve \(token)", "unpreserve \(token)"])
            #expect(
                errno { try last.preserve(file.descriptor, token: token) } == .noSpace,
                "the file and the token are free")
        }
        let status = try boot.status()
        let files = status.sessions.flatMap(\.files)
        #expect(status.flbs.map(\.count) == [UInt64(files.count)])
        #expect(machine.descriptors.held == Set(files.map(\.slot)))
        #expect(!last.tokens.contains(token))
    }

    @Test("A first preserve that fails unpreserves its FLB again")
    func firstUser() throws {
        var name = 0
        while errno({ try boot.createSession(SessionName(String(repeating: "n", count: 58) + String(10000 + name))) })
            == nil
        {
            name += 1
        }
        let session = try #require(try boot.openSessions.first)
        let file = try MemoryFile(size: 0)
        #expect(errno { try session.preserve(file.descriptor, token: 1) } == .noSpace)
        #expect(flb.calls == ["preserve", "unpreserve"])
        #expect(handler.calls == ["preserve 1", "unpreserve 1"])
        #expect(try boot.status().flbs.isEmpty)
        #expect(machine.descriptors.held.isEmpty)
    }

    @Test("A handler that stores too much keeps none of it")
    func storage() throws {
        handler.change { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in
                while true { _ = try file.storage.allocate(4096) }
            }
        }
        let session = try boot.createSession("s")
        let used = try boot.status().arenaUsed
        let file = try MemoryFile()
        for _ in 0..<3 {
            #expect(errno { try session.preserve(file.descriptor, token: 1) } == .noSpace)
            #expect(try boot.status().arenaUsed == used)
        }
        #expect(flb.count("preserve") == 3 && flb.count("unpreserve") == 3)
        handler.change { hooks in hooks.preserve = { $0.token } }
        try session.preserve(file.descriptor, token: 1)
    }

    @Test("All sessions can be closed at the limit, and then there is room again")
    func closingAtTheLimit() throws {
        let (sessions, _) = try fill()
        for session in sessions { try session.close() }
        #expect(flb.count("unpreserve") == 1)
        #expect(machine.descriptors.held.isEmpty)
        #expect(try fill().sessions.count > 50)
    }

    @Test("An update at the limit works, and everything comes back")
    func updateAtTheLimit() throws {
        let (sessions, _) = try fill()
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        for session in sessions {
            let came = try next.retrieveSession(session.name)
            for token in came.tokens { _ = try came.retrieve(token: token) }
            try came.close()
        }
        #expect(flb.count("finish") == 1)
        #expect(try next.status().sessions.isEmpty)
    }

    @Test("An FLB that stores a state for the update does not make an update at the limit fail")
    func serializeAtTheLimit() throws {
        flb.change { hooks in
            hooks.serialize = { context throws(LiveUpdateError) in
                try context.storage.store([UInt8](repeating: 7, count: 400))
            }
        }
        let (sessions, _) = try fill()
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        #expect(try next.status().sessions.count == sessions.count)
    }

    @Test("A freeze, or an FLB, that needs more than the free room gets ENOSPC, and the state is as before")
    func publishOverTheLimit() throws {
        let (sessions, _) = try fill()
        handler.change { hooks in
            hooks.freeze = { file throws(LiveUpdateError) in
                try file.storage.store([UInt8](repeating: 1, count: file.session == sessions[9].name ? 1 << 20 : 8))
            }
        }
        // Earlier files of the same freeze keep their new records, which replace their old ones.
        let error = failure { try boot.publish() }
        #expect(error?.errno == .noSpace && error?.remedy?.contains("limit") == true)
        #expect(handler.count("freeze") == 10 && handler.count("unfreeze") == 9)
        handler.change { hooks in hooks.freeze = { $0.data } }

        flb.change { hooks in
            hooks.serialize = { context throws(LiveUpdateError) in
                try context.storage.store([UInt8](repeating: 7, count: 1 << 20))
            }
        }
        let used = try boot.status().arenaUsed
        #expect(failure { try boot.publish() }?.errno == .noSpace)
        #expect(try boot.status().arenaUsed <= used)
        #expect(try machine.openArena().outgoingTree == nil)
        flb.change { hooks in hooks.serialize = { $0.data } }
        try boot.publish()
        #expect(try machine.boot(.nextBoot, handler, flb).status().sessions.count == sessions.count)
    }

    @Test("A crash at the limit loses nothing")
    func crashAtTheLimit() throws {
        let (sessions, _) = try fill()
        let again = try machine.boot(.sameBoot, handler, flb)
        #expect(try again.openSessions.map(\.name) == sessions.map(\.name))
        for session in try again.openSessions { try session.close() }
    }
}
