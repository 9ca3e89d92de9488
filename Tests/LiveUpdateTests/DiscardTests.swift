// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Unfinished incoming sessions do not travel again. An update names them and fails, or discards them if it may.
@Suite struct DiscardTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let flb = TestFLB { hooks in
        hooks.preserve = { context throws(LiveUpdateError) in try context.storage.store([1, 2, 3]) }
    }
    private let files: [MemoryFile]
    private let boot: Orchestrator

    init() throws {
        machine = try Machine()
        files = try (0..<3).map { _ in try MemoryFile() }
        let first = try machine.boot(.nextBoot, handler, flb)
        for (name, file) in zip(["done", "opened", "waiting"] as [SessionName], files) {
            try first.createSession(name).preserve(file.descriptor, token: 1)
        }
        try first.publish()
        boot = try machine.boot(.nextBoot, handler, flb)
        try boot.retrieveSession("done").finish()
        _ = try boot.retrieveSession("opened")
    }

    @Test("An unfinished session of another user is named with that user") func namesUsers() throws {
        let machine = try Machine()
        let file = try MemoryFile()
        let first = try machine.boot(.nextBoot, handler, flb)
        try first.createSession("vm", holder: SessionHolder(user: 7)).preserve(file.descriptor, token: 1)
        try first.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        #expect(failure { try next.publish() }?.reason.contains("\"vm\" of user 7") == true)
    }

    @Test func unfinishedSessionsStopTheUpdateAndAreNamed() throws {
        handler.clear()
        let error = failure { try boot.publish() }
        #expect(error?.errno == .resourceBusy)
        #expect(error?.reason.contains("\"opened\", \"waiting\"") == true, "\(String(describing: error))")
        #expect(error?.reason.contains("done") == false)
        #expect(handler.calls == [], "nothing was frozen")
        #expect(try boot.status().sessions.count == 3)
    }

    @Test func finishedOnesDoNot() throws {
        try boot.retrieveSession("waiting").finish()
        for session in try boot.openSessions { try session.finish() }
        try boot.publish()
        #expect(try machine.boot(.nextBoot, handler, flb).status().sessions.isEmpty)
    }

    @Test("Discarded sessions are gone, and the next boot finishes their FLBs once")
    func discarded() throws {
        try boot.publish(discardingUnfinished: true)
        #expect(flb.count("retrieve") == 0 && flb.count("finish") == 0)
        let next = try machine.boot(.nextBoot, handler, flb)
        #expect(try next.status().sessions.isEmpty)
        #expect(errno { try next.withIncoming(flb) { _ in } } == .noSuchFileOrDirectory, "it is not to be had")
        try next.finishDiscarded()
        #expect(flb.count("retrieve") == 1 && flb.count("finish") == 1)
        try next.finishDiscarded()
        #expect(flb.count("finish") == 1)
        try next.publish()
        try machine.boot(.nextBoot, handler, flb).finishDiscarded()
        #expect(flb.count("finish") == 1)
    }

    @Test("Unfinished FLBs are discarded again with the next update, and not lost")
    func discardedTwice() throws {
        try boot.publish(discardingUnfinished: true)
        let second = try machine.boot(.nextBoot, handler, flb)
        try second.publish()
        let third = try machine.boot(.nextBoot, handler, flb)
        try third.finishDiscarded()
        #expect(flb.count("retrieve") == 1 && flb.count("finish") == 1)
    }

    @Test func aCrashBetweenKeepsThem() throws {
        try boot.publish(discardingUnfinished: true)
        try machine.boot(.nextBoot, handler, flb).open()
        let again = try machine.boot(.sameBoot, handler, flb)
        try again.finishDiscarded()
        #expect(flb.count("finish") == 1)
        try machine.boot(.sameBoot, handler, flb).finishDiscarded()
        #expect(flb.count("finish") == 1)
    }

    @Test func whatTheyHeldOfTheArenaComesBack() throws {
        func update(_ machine: Machine, _ count: Int) throws -> Orchestrator {
            for _ in 0..<count {
                let boot = try machine.boot(.nextBoot, handler, flb)
                try boot.finishDiscarded()
                try boot.publish()
            }
            return try machine.boot(.nextBoot, handler, flb)
        }
        try boot.publish(discardingUnfinished: true)
        let used = try update(try Machine(), 3).status().arenaUsed
        #expect(try update(machine, 3).status().arenaUsed == used, "as where nothing ever was")
    }

    @Test("The files of discarded sessions are free again for the next boot")
    func filesAreFree() throws {
        try boot.publish(discardingUnfinished: true)
        let next = try machine.boot(.nextBoot, handler, flb)
        let session = try next.createSession("again")
        for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
    }
}
