// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A draft of the tree is written, and read, ahead of an update. The update is faster with it, and otherwise the same.
@Suite struct DraftTests {
    private let machine: Machine
    private let handler = TestHandler { hooks in
        hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store([UInt8](repeating: 7, count: 100)) }
        hooks.freezeCheck = { _ in { true } }
    }
    private let flb = TestFLB { hooks in
        hooks.serialize = { context throws(LiveUpdateError) in try context.storage.store([1, 2, 3]) }
    }
    private let files: [MemoryFile]
    private let boot: Orchestrator
    private let first: Session
    private let second: Session

    init() throws {
        machine = try Machine()
        files = try (0..<4).map { _ in try MemoryFile() }
        boot = try machine.boot(.nextBoot, handler, flb)
        first = try boot.createSession("first")
        second = try boot.createSession("second")
        for token in [1, 2] { try first.preserve(files[token].descriptor, token: UInt64(token)) }
        try second.preserve(files[3].descriptor, token: 3)
        handler.clear()
    }

    /// A next boot that has prepared itself from the draft, and is not open yet.
    private func prepared(on draft: Extent) throws -> Orchestrator {
        let next = try machine.boot(.onTrial) { orchestrator in
            try orchestrator.register(handler)
            try orchestrator.register(flb, on: handler)
        }
        try next.prepare(on: draft)
        return next
    }

    private func expectEverything(in next: Orchestrator, tokens: [[UInt64]] = [[1, 2], [3]]) throws {
        #expect(try next.status().updateNumber == 1)
        for (name, expected) in zip(["first", "second"] as [SessionName], tokens) {
            let session = try next.retrieveSession(name)
            #expect(session.tokens == expected)
            for token in expected {
                let came = try session.retrieve(token: token)
                #expect(try FileStatus(of: came.borrowed).identity == files[Int(token)].identity)
            }
            try session.finish()
        }
        #expect(flb.count("finish") == 1)
    }

    @Test("With a draft no file is frozen again, and the next boot makes no system call for each file")
    func isUsed() throws {
        let next = try prepared(on: try boot.draft())
        #expect(boot.hasCurrentDraft)
        try boot.publish()
        #expect(handler.count("freeze") == 0 && handler.count("freezeCheck") == 3)
        #expect(flb.count("serialize") == 1)
        let opening = FaultInjector.failing(call: 0) { failure { try next.open(answering: nil) } }
        #expect(opening.value == nil && opening.calls < 3, "\(opening)")
        #expect(errno { try next.status() } == .resourceTemporarilyUnavailable, "it is on trial")
        try next.confirm()
        #expect(try next.status().freeze.end >= next.status().freeze.start && next.status().freeze.start > 0)
        try expectEverything(in: next)
    }

    // MARK: Looks ahead

    /// Looks at `most` files.
    ///
    /// - Returns: whether all files have been looked at.
    private func look(_ most: Int) throws -> Bool {
        var left = most
        return try boot.look {
            left -= 1
            return left > 0
        }
    }

    @Test("Files that were looked at ahead, some at a time, are not looked at again by the draft or the freeze")
    func looksAhead() throws {
        try boot.beginLooks()
        #expect(try !look(2) && handler.count("freezeCheck") == 2)
        #expect(try look(1) && handler.count("freezeCheck") == 3)
        #expect(try boot.obstacles().isEmpty)
        _ = try boot.draft()
        #expect(handler.count("freezeCheck") == 3 && handler.count("freezeObstacle") == 3)
        // The draft is worthless now. The files that were looked at are still not frozen.
        try second.unpreserve(token: 3)
        #expect(!boot.hasCurrentDraft)
        try boot.publish()
        #expect(handler.count("freezeCheck") == 3 && handler.count("freeze") == 0)
    }

    @Test("Files may be preserved and unpreserved between looks")
    func changesWhileLooking() throws {
        try boot.beginLooks()
        #expect(try !look(1))
        try first.unpreserve(token: 2)
        try second.preserve(files[2].descriptor, token: 9)
        #expect(try look(9))
        let looked = handler.calls.filter { $0.hasPrefix("freezeCheck") }
        #expect(looked == ["freezeCheck 1", "freezeCheck 3"])
        let next = try prepared(on: try boot.draft())
        #expect(handler.calls.last { $0.hasPrefix("freezeCheck") } == "freezeCheck 9", "the draft looks at the rest")
        try boot.publish()
        try next.open(answering: nil)
        try next.confirm()
        #expect(try next.retrieveSession("second").tokens == [3, 9])
    }

    @Test("Obstacles that were found ahead stay until the update is called off")
    func obstaclesAhead() throws {
        handler.change { $0.freezeObstacle = { $0.token == 2 ? LiveUpdateError(.staleNFSFileHandle, "cut") : nil } }
        try boot.beginLooks()
        #expect(try look(9))
        handler.change { $0.freezeObstacle = { _ in nil } }
        #expect(try boot.obstacles().map(\.token) == [2])
        boot.discardDraft()
        #expect(try boot.obstacles().isEmpty)
        #expect(try look(9), "there is nothing to look at")
    }

    @Test("A look does not count once a freeze has stored its file again")
    func outdatedLook() throws {
        handler.change { hooks in
            hooks.freezeCheck = { _ in nil }
            hooks.freezeObstacle = { $0.token == 1 ? LiveUpdateError(.staleNFSFileHandle, "cut") : nil }
            hooks.freeze = { file throws(LiveUpdateError) in
                guard file.token == 1 else { throw LiveUpdateError(.ioError, "no") }
                file.storage.drop(file.data)
                return try file.storage.store([9])
            }
        }
        try boot.beginLooks()
        #expect(try look(9))
        #expect(errno { try boot.publish() } == .ioError)
        handler.change { $0.freezeObstacle = { _ in nil } }
        #expect(try boot.obstacles().isEmpty)
    }

    // MARK: With a draft

    @Test("A draft is the tree that is published without it, except its place and the times of freezes")
    func isTheSame() throws {
        let plain = try Machine(copyOf: machine)
        let other = try plain.boot(.sameBoot, handler, flb)
        try other.publish()
        let draft = try boot.draft()
        try boot.publish()
        let (mine, theirs) = (try machine.openArena(), try plain.openArena())
        #expect(mine.outgoingTree == draft)
        #expect(theirs.outgoingTree?.length == draft.length)
        for published in [machine, plain] {
            let next = try published.boot(.nextBoot, handler, flb)
            #expect(try next.status().sessions.map(\.name) == ["first", "second"])
            #expect(try next.status().flbs.map(\.count) == [3])
        }
    }

    @Test("Changes after the draft are not lost: all files are frozen and read as without it")
    func isStale() throws {
        let next = try prepared(on: try boot.draft())
        try second.unpreserve(token: 3)
        try first.preserve(files[3].descriptor, token: 3)
        #expect(!boot.hasCurrentDraft)
        try boot.publish()
        #expect(handler.count("freeze") == 3)
        try next.open(answering: nil)
        try next.confirm()
        try expectEverything(in: next, tokens: [[1, 2, 3], []])
    }

    @Test("A freeze that changes a file makes the draft worthless")
    func freezeChanges() throws {
        handler.change { hooks in
            hooks.freezeCheck = { file in
                let token = file.token
                return { token != 2 }
            }
            hooks.freeze = { file throws(LiveUpdateError) in
                file.storage.drop(file.data)
                return try file.storage.store([9])
            }
        }
        let next = try prepared(on: try boot.draft())
        try boot.publish()
        #expect(handler.calls.filter { $0.hasPrefix("freeze ") } == ["freeze 2"])
        try next.open(answering: nil)
        try next.confirm()
        try expectEverything(in: next)
    }

    @Test("A failed freeze also unfreezes files that were only looked at, and releases the draft")
    func freezeFails() throws {
        handler.change { hooks in
            hooks.freezeCheck = { file in
                let token = file.token
                return { token != 3 }
            }
            hooks.freeze = { _ throws(LiveUpdateError) in throw LiveUpdateError(.ioError, "no") }
        }
        let used = try boot.status().arenaUsed
        _ = try boot.draft()
        #expect(errno { try boot.publish() } == .ioError)
        #expect(handler.calls.filter { $0.hasPrefix("unfreeze") } == ["unfreeze 1", "unfreeze 2"])
        boot.discardDraft()
        #expect(try boot.status().arenaUsed == used)
        #expect(!boot.hasCurrentDraft)
    }

    @Test("A published draft is taken back as any other tree")
    func thaws() throws {
        let used = try boot.status().arenaUsed
        let next = try prepared(on: try boot.draft())
        try boot.publish()
        try next.open(answering: nil)
        try boot.thaw()
        #expect(handler.count("unfreeze") == 3)
        #expect(try boot.status().arenaUsed == used)
        // The next boot prepares itself from another draft, made after a worthless one.
        _ = try boot.draft()
        let again = try prepared(on: try boot.draft())
        try boot.publish()
        try again.open(answering: nil)
        try again.confirm()
        try expectEverything(in: again)
    }

    @Test("A draft that cannot be read is not prepared, and the boot still opens")
    func damaged() throws {
        let next = try machine.boot(.onTrial) { orchestrator in
            try orchestrator.register(handler)
            try orchestrator.register(flb, on: handler)
        }
        let draft = try boot.draft()
        #expect(errno { try next.prepare(on: Extent(offset: draft.offset + 64, length: draft.length)) } == .ioError)
        #expect(errno { try next.prepare(on: Extent(offset: .max, length: .max)) } == .ioError)
        #expect(errno { try boot.prepare(on: draft) } == .invalidArgument)
        try boot.publish()
        try next.open(answering: nil)
        try next.confirm()
        try expectEverything(in: next)
    }

    @Test("An orchestrator that dies with a draft leaves nothing of it")
    func dies() throws {
        let used = try boot.status().arenaUsed
        _ = try boot.draft()
        let successor = try machine.boot(.sameBoot, handler, flb)
        #expect(try successor.status().arenaUsed == used)
    }
}
