// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// No user's files stop an update. The update names the files that cannot be frozen, and can go on without them.
@Suite struct LeftOutTests {
    private let machine: Machine
    private let files: [MemoryFile]
    private let flb = TestFLB()
    /// The tokens of files that cannot be frozen.
    private let broken = Guarded<Set<UInt64>>([])
    private let isSeen = Guarded(true)
    private let handler = TestHandler()
    private let boot: Orchestrator

    private static let problem = LiveUpdateError(.staleNFSFileHandle, "it has 1 bytes, and had 4096")
    private static let callbacks = ["freezeObstacle", "freezeCheck"]

    init() throws {
        machine = try Machine()
        files = try (0..<4).map { _ in try MemoryFile() }
        handler.change { [broken, isSeen] hooks in
            hooks.freeze = { file throws(LiveUpdateError) in
                if broken.with({ $0.contains(file.token) }) { throw Self.problem }
                return file.data
            }
            hooks.freezeObstacle = { file in
                isSeen.with { $0 } && broken.with { $0.contains(file.token) } ? Self.problem : nil
            }
        }
        boot = try machine.boot(.nextBoot, handler, flb)
        let own = try boot.createSession("own")
        let others = try boot.createSession("others", holder: SessionHolder(user: 7))
        for token in 0..<2 { try own.preserve(files[token].descriptor, token: UInt64(token)) }
        for token in 2..<4 { try others.preserve(files[token].descriptor, token: UInt64(token)) }
        handler.clear()
    }

    private func next() throws -> Orchestrator { try machine.boot(.nextBoot, handler, flb) }

    /// All callbacks except those that only look at a file.
    private var calls: [String] { handler.calls.filter { call in !Self.callbacks.contains { call.hasPrefix($0) } } }

    private func obstacle(_ token: UInt64, _ user: SessionUser, _ session: SessionName) -> FreezeObstacle {
        FreezeObstacle(
            user: user, session: session, token: token, compatible: "test-v1", errno: .staleNFSFileHandle,
            reason: Self.problem.reason)
    }

    @Test("All files that cannot be frozen are listed with their users, and nothing changes") func obstacles() throws {
        #expect(try boot.obstacles().isEmpty)
        broken.with { $0 = [1, 3] }
        let before = try machine.file.bytes()
        for _ in 0..<2 { #expect(try boot.obstacles() == [obstacle(1, 0, "own"), obstacle(3, 7, "others")]) }
        #expect(calls.isEmpty)
        #expect(try machine.file.bytes() == before)
    }

    @Test("If the update may leave no file out, the first obstacle stops it, and everything is as before")
    func stops() throws {
        broken.with { $0 = [1, 3] }
        #expect(failure { try boot.publish() } == Self.problem)
        #expect(calls == ["freeze 0", "freeze 1", "unfreeze 0"])
        _ = try boot.draft(leavingOut: true)
        handler.clear()
        #expect(failure { try boot.publish() } == Self.problem, "a draft that leaves files out is for another update")
        #expect(calls == ["freeze 0", "freeze 1", "unfreeze 0"])
    }

    enum Way: CaseIterable, Sendable {
        /// A draft knows the broken files.
        case drafted
        /// There is no draft.
        case undrafted
        /// A draft does not know the broken files: they break later, or the handler cannot see it ahead.
        case late
        /// The draft was made for an update that leaves nothing out.
        case otherDraft
    }

    private func publish(_ way: Way) throws {
        switch way {
        case .drafted:
            broken.with { $0 = [1, 3] }
            _ = try boot.draft(leavingOut: true)
        case .undrafted: broken.with { $0 = [1, 3] }
        case .late:
            broken.with { $0 = [1] }
            _ = try boot.draft(leavingOut: true)
            isSeen.with { $0 = false }
            broken.with { $0 = [1, 3] }
        case .otherDraft:
            _ = try boot.draft()
            broken.with { $0 = [1, 3] }
        }
        handler.clear()
        #expect(try boot.publish(leavingOut: true).count == 4, "all descriptors travel")
    }

    @Test("Files that cannot be frozen are left out, and all other files are frozen once", arguments: Way.allCases)
    func freezes(_ way: Way) throws {
        try publish(way)
        let expected =
            switch way {
            case .drafted: ["freeze 0", "freeze 2"]
            case .late: ["freeze 0", "freeze 2", "freeze 3"]
            case .undrafted, .otherDraft: ["freeze 0", "freeze 1", "freeze 2", "freeze 3"]
            }
        #expect(calls == expected)
        handler.clear()
        try boot.thaw()
        #expect(calls == ["unfreeze 2", "unfreeze 0"], "what was not frozen is not unfrozen")
        broken.with { $0 = [] }
        try boot.publish()
        let next = try next()
        #expect(try next.status().sessions.flatMap(\.files).allSatisfy { $0.problem == nil })
        _ = try next.retrieveSession("own").retrieve(token: 1)
    }

    @Test(
        "In the next boot a retrieve always fails with errno and reason, also after a crash; other files work",
        arguments: Way.allCases)
    func nextBoot(_ way: Way) throws {
        try publish(way)
        handler.clear()
        var boot = try next()
        for round in 0..<3 {
            let session =
                try boot.openSessions.first { $0.name == "own" } ?? boot.retrieveSession("own")
            let error = try #require(failure { try session.retrieve(token: 1) })
            #expect(error.errno == .staleNFSFileHandle)
            #expect(
                error.reason == "file 1 of session \"own\" was left out of the update: it has 1 bytes, and had 4096")
            #expect(error.remedy?.contains("--as-held") == true)
            let held = try session.retrieveAsHeld(token: 1)
            #expect(try FileStatus(of: held.borrowed).identity == files[1].identity)
            _ = try session.retrieve(token: 0)
            let status = try #require(try boot.status().sessions.first { $0.name == "own" })
            #expect(status.files.map(\.problem) == [nil, Self.problem.reason])
            #expect(status.files[1].retrieveStatus == .failed(errno: Errno.staleNFSFileHandle.rawValue))
            if round < 2 { boot = try machine.boot(.sameBoot, handler, flb) }
        }
        #expect(calls == ["retrieve 0"])
        #expect(try boot.status().flbs.map(\.count) == [4])
        try boot.openSessions[0].finish()
        #expect(calls.suffix(2) == ["finish 1", "finish 0"])
        #expect(try boot.status().flbs.map(\.count) == [2])
        try boot.retrieveSession("others", holder: SessionHolder(user: 7)).close()
        #expect(flb.count("finish") == 1)
        #expect(machine.descriptors.held.isEmpty)
    }

    @Test("A next boot that prepares itself from the draft finds the same") func prepared() throws {
        broken.with { $0 = [1, 3] }
        let draft = try boot.draft(leavingOut: true)
        let next = try machine.boot(.onTrial) { orchestrator in
            try orchestrator.register(handler)
            try orchestrator.register(flb, on: handler)
        }
        try next.prepare(on: draft)
        try boot.publish(leavingOut: true)
        try next.open(answering: nil)
        try next.confirm()
        let files = try next.status().sessions.flatMap(\.files)
        #expect(files.map { $0.problem == nil } == [true, false, true, false])
        #expect(
            try machine.boot(.sameBoot, handler, flb).status().sessions.flatMap(\.files).count { $0.problem != nil }
                == 2)
    }

    @Test("Reasons and numbers that do not fit into the record are shortened") func hostileReasons() throws {
        let reasons = [
            "", "\0", String(repeating: "\u{1F600}", count: 1000), "a\0b" + String(repeating: "x", count: 600),
        ]
        for (reason, number) in zip(reasons, [0, -1, 4096, CInt.max]) {
            let machine = try Machine()
            let handler = TestHandler { hooks in
                hooks.freeze = { _ throws(LiveUpdateError) in throw LiveUpdateError(Errno(rawValue: number), reason) }
            }
            let boot = try machine.boot(.nextBoot, handler)
            try boot.createSession("s").preserve(files[0].descriptor, token: 1)
            try boot.publish(leavingOut: true)
            let next = try machine.boot(.nextBoot, handler)
            let file = try #require(try next.status().sessions.first?.files.first)
            #expect(file.retrieveStatus == .failed(errno: Errno.ioError.rawValue))
            let problem = try #require(file.problem)
            #expect((1...511).contains(problem.utf8.count) && !problem.utf8.contains(0))
            #expect(errno { try next.retrieveSession("s").retrieve(token: 1) } == .ioError)
        }
    }

    @Test("An inspection shows all of it: the reason travels") func inspection() throws {
        try publish(.undrafted)
        let inspection = Inspection(ArenaSnapshot(try machine.file.bytes()))
        #expect(inspection.failures.isEmpty)
        let tree = try #require(inspection.trees.first { $0.part == .outgoingTree }?.state)
        #expect(tree.sessions.flatMap(\.files).compactMap(\.status.problem).count == 2)
        _ = try next().status()
        let after = Inspection(ArenaSnapshot(try machine.file.bytes()))
        #expect(after.failures.isEmpty)
        #expect(after.log.contains { $0.words?.contains("left out of the update: it has 1 bytes") == true })
    }

    @Test("The sessions that an update with discard would lose are known in advance") func unfinished() throws {
        #expect(try boot.unfinishedSessions().isEmpty)
        try boot.publish()
        let next = try next()
        let done = try next.retrieveSession("own")
        #expect(try next.unfinishedSessions().map(\.name) == ["own", "others"])
        try done.finish()
        let cost = try next.unfinishedSessions()
        #expect(cost.map(\.name) == ["others"] && cost[0].holder.user == 7)
        #expect(cost[0].files.map(\.token) == [2, 3])
    }
}
