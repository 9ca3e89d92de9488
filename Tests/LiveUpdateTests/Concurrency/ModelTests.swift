// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Eight threads make random requests, and each answer is compared with a model. Afterwards nothing is lost or left
/// over, and the arena agrees with the orchestrator.
///
/// The test runs in its own process, because it counts descriptors.
@Suite struct ModelTests {
    private static let threads = 8

    @Test(arguments: UInt64(0)..<4) func randomRequests(_ round: UInt64) async {
        let seed = announcedSeed("random requests of \(Self.threads) threads, round \(round)")
        await Self.runAlone(seed: seed &+ round << 32)
    }

    private static func runAlone(seed: UInt64) async {
        let ended = await #expect(processExitsWith: .success) { [seed] in try ModelTests.run(seed: seed) }
        if ended == nil { Issue.record("LUO_SEED=\(seed), round 0") }
    }

    private static func run(seed: UInt64) throws {
        let before = try openFiles()
        do {
            let world = try ModelWorld(incoming: 12, files: 80)
            Threads.run(threads) { thread in
                var generator = SeededGenerator(seed: seed &+ UInt64(thread))
                for _ in 0..<Scale.count(2000) { world.step(&generator, thread: thread) }
            }
            try world.expectAsInModel(world.boot)
            try world.expectBalance()
            let lost = try world.expectRebuilt()
            try world.expectAllComesBack(threads: threads)
            #expect(world.machine.descriptors.held == lost)
        }
        #expect(try nothingIsLeft(since: before), "descriptors are left")
    }
}

extension ModelWorld {
    /// Checks that the orchestrator has the state of the model.
    fileprivate func expectAsInModel(_ boot: Orchestrator) throws {
        let status = try boot.status()
        let expected = model.look { state in state.sessions.filter { $0.progress != .closed } }
        #expect(status.sessions.count == expected.count)
        for session in expected {
            let found = status.sessions.first { $0.name == session.name && $0.direction == session.direction }
            #expect(found?.isOpen == (session.progress != .waiting), "\(session.name)")
            #expect(found?.isFinished == (session.progress == .finished), "\(session.name)")
            let files = Dictionary(uniqueKeysWithValues: (found?.files ?? []).map { ($0.token, $0.identity) })
            #expect(files == session.tokens.mapValues { self.files[$0].identity }, "\(session.name)")
        }
        expectCounts(status)
        #expect(machine.descriptors.held == Set(status.sessions.flatMap(\.files).map(\.slot)))
    }

    /// Checks that each preserve is balanced by an unpreserve, a finish, or an existing file, and each callback of the
    /// FLB likewise.
    fileprivate func expectBalance() throws {
        let (leaving, came) = model.look { ($0.files(.outgoing), $0.files(.incoming)) }
        let all = 3 * model.look { $0.sessions(.incoming).count }
        let failed = handler.calls.filter { $0 == "preserve \(Self.unpreservable)" }.count
        // An earlier boot preserved and froze the files of the first update.
        #expect(handler.count("preserve") - failed == handler.count("unpreserve") + leaving + all)
        #expect(handler.count("finish") == all - came)
        #expect(Set(handler.calls.filter { $0.hasPrefix("retrieve ") }).count == handler.count("retrieve"), "once each")
        #expect(flb.count("preserve") - 1 == flb.count("unpreserve") + (leaving > 0 ? 1 : 0))
        #expect(flb.count("finish") == (came > 0 ? 0 : 1))
        #expect(flb.count("retrieve") <= 1)
    }

    /// Checks that the state is the same after a crash, and that an update works.
    ///
    /// - Returns: the slots that are lost with the unfinished sessions. In a real update execve closes them.
    fileprivate func expectRebuilt() throws -> Set<DescriptorSlot> {
        let (live, again) = (try boot.status(), try rebuilt())
        try expectAsInModel(again)
        let status = try again.status()
        #expect(status.sessions.map(\.name) == live.sessions.map(\.name))
        for (before, after) in zip(live.sessions.flatMap(\.files), status.sessions.flatMap(\.files)) {
            #expect(before.slot == after.slot && before.data == after.data)
            #expect(before.retrieveStatus == after.retrieveStatus)
        }
        #expect(status.flbs.map(\.retrieveStatus) == live.flbs.map(\.retrieveStatus))
        isStubborn.with { $0 = false }
        let leaving = try again.publish(discardingUnfinished: true, leavingOut: false)
        return machine.descriptors.held.subtracting(leaving)
    }

    private static func takeBack(_ name: SessionName, _ boot: Orchestrator, _ flb: ModelFLB) throws {
        guard let session = try? boot.retrieveSession(name) else { return }
        for token in session.tokens { _ = try session.retrieve(token: token) }
        if !session.tokens.isEmpty {
            try boot.withIncoming(flb) { object throws(LiveUpdateError) in #expect(object.isAlive) }
        }
        try session.close()
    }

    /// Checks the next boot, in which all threads retrieve and close everything at once.
    fileprivate func expectAllComesBack(threads: Int) throws {
        let (handler, flb) = (TestHandler(), ModelFLB())
        let boot = try Self.boot(machine, .nextBoot, handler, flb)
        let sessions = try boot.status().sessions
        let files = sessions.flatMap(\.files)
        #expect(files.count == model.look { $0.files(.outgoing) })
        Threads.run(threads) { _ in
            for name in sessions.map(\.name) {
                #expect(errno { try Self.takeBack(name, boot, flb) } == nil)
            }
        }
        try boot.finishDiscarded()
        #expect(try boot.status().sessions.isEmpty)
        #expect(handler.count("retrieve") == files.count)
        #expect(handler.count("finish") == files.count)
    }
}
