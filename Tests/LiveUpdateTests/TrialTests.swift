// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A trial, interrupted at each store of each of the two boots. Either the old boot goes on or the next boot, never
/// both, and nothing is lost.
///
/// Until the next boot is told to go on, the old boot, or an opening with `takingBack`, must find the old state. As
/// soon as the next boot has taken over, an opening without `takingBack` must find the next boot.
@Suite struct TrialTests {
    /// The part of the state that must be the same in each opening.
    private struct View: Equatable {
        let updates: UInt64
        let sessions: [String]
        let counts: [UInt64]
        let answer: Answer?

        init(_ boot: Orchestrator) throws {
            let status = try boot.status()
            updates = status.updateNumber
            sessions = status.sessions.map { session in
                "\(session.direction) \(session.name) of \(session.holder.user), \(session.holder.isDetached), "
                    + "\(session.files.map(\.token))"
            }
            counts = status.flbs.map(\.count)
            answer = boot.answer(on: TrialTests.asked.request.connection)
        }
    }

    private static let asked = Answer(RequestID(connection: DescriptorSlot(5), tag: 2))

    /// A boot that has published, and waits for the trial of the next boot.
    private final class World {
        let machine: Machine
        let old: Orchestrator
        private let probe = LateProbe()
        private let way: Way
        private let files: [MemoryFile]
        /// The draft from which the next boot prepares itself.
        private let draft: Extent?
        /// The expected views of the old boot and of the next boot.
        private(set) var views: (old: View, new: View)

        init(_ way: Way) throws {
            self.way = way
            let machine = try Machine()
            self.machine = machine
            // The first boot hands over an unfinished session, which is lost with the next update.
            let first = try machine.boot { try Self.register($0, way) }
            files = try (0..<4).map { _ in try MemoryFile() }
            try first.createSession("came").preserve(files[0].descriptor, token: 9)
            try first.publish()
            old = try Self.boot(machine, way, .nextBoot, Arena.Options(probe: probe))
            _ = try old.retrieveSession("came")
            let session = try old.createSession("s", holder: SessionHolder(user: 7, isDetached: true))
            for token in 1...2 { try session.preserve(files[token].descriptor, token: UInt64(token)) }
            _ = try old.createSession("empty", answering: Answer(asked.request, result: -125))
            let before = try View(old)
            draft = way.isPrepared ? try old.draft() : nil
            try old.publish(discardingUnfinished: true)
            let whole = try Machine(copyOf: machine)
            let next = try whole.boot(.onTrial) { try Self.register($0, way) }
            try next.open(answering: asked)
            try next.confirm()
            views = (before, try View(next))
        }

        static func register(_ orchestrator: Orchestrator, _ way: Way) throws {
            let handler = TestHandler { hooks in
                hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store(nativeBytes(file.token)) }
                // The next boot cannot prepare itself for changes by a freeze.
                if way.isPrepared { return }
                hooks.freeze = { file throws(LiveUpdateError) in
                    file.storage.drop(file.data)
                    return try file.storage.store(nativeBytes(file.token))
                }
            }
            try orchestrator.register(handler)
            try orchestrator.register(TestFLB(), on: handler)
        }

        /// Opens a separate orchestrator on the arena, as another process would.
        func boot(
            _ opening: Orchestrator.Opening, takingBack: Bool = false, _ probe: CrashProbe? = nil
        ) throws -> Orchestrator {
            var options = Arena.Options(probe: probe)
            options.takingBack = takingBack
            return try Self.boot(machine, way, opening, options)
        }

        private static func boot(
            _ machine: Machine, _ way: Way, _ opening: Orchestrator.Opening, _ options: Arena.Options
        ) throws -> Orchestrator {
            let boot = Orchestrator(
                arena: try Arena(opening: try machine.file.duplicate(), options), descriptors: machine.descriptors,
                opening: opening)
            try register(boot, way)
            return boot
        }

        /// Runs the next boot, and ends its life at one of its stores.
        func trial(_ probe: CrashProbe, confirming: Bool = false) throws {
            do {
                let next = try boot(.onTrial, probe)
                if let draft { try next.prepare(on: draft) }
                try next.open(answering: TrialTests.asked)
                if confirming { try next.confirm() }
            } catch let error where probe.isDead {
                // The answer of a dead boot reaches no caller.
                _ = error
            }
        }

        /// Thaws the old boot, which dies at a store.
        ///
        /// - Returns: the number of stores, including those after its death.
        func storesOfThaw(_ stop: Int = .max, _ cut: Bool = false) throws -> Int {
            let stopping = CrashProbe(stop: stop, cutsInTheMiddle: cut)
            probe.arm(stopping)
            do {
                try old.thaw()
            } catch let error where stopping.isDead {
                _ = error
            }
            return stopping.stores
        }

        /// Checks that the boot that goes on can do everything: it has its files, takes new ones, and makes an update.
        func expect(_ boot: Orchestrator, _ expected: View, _ what: String) throws {
            let found = try View(boot)
            #expect(found == expected, "\(what)")
            let status = try boot.status()
            let slots = status.sessions.flatMap(\.files).map(\.slot)
            #expect(slots.allSatisfy { machine.descriptors.descriptor(in: $0) != nil }, "\(what)")
            try boot.createSession("one more").preserve(files[3].descriptor, token: 1)
            let again = try self.boot(.sameBoot)
            #expect(try again.status().sessions.map(\.name).contains("one more"), "\(what)")
            if let session = try again.openSessions.first(where: { $0.name == "s" }) {
                _ = try session.get(token: 1)
            } else {
                let session = try again.retrieveSession("s", holder: SessionHolder(user: 7))
                _ = try session.retrieve(token: 1)
            }
            try again.publish(discardingUnfinished: true)
        }
    }

    /// Counts the stores of the next boot until it has taken over, and in all.
    private func stores(_ way: Way) throws -> (takenOver: Int, all: Int) {
        let (probe, whole) = (CrashProbe(), CrashProbe())
        try World(way).trial(probe)
        try World(way).trial(whole, confirming: true)
        return (probe.stores, whole.stores)
    }

    /// Whether a store is lost or cut in half, and whether the next boot has prepared itself.
    struct Way: Sendable {
        let isCut: Bool
        let isPrepared: Bool
    }

    private static let ways: [Way] = [false, true].flatMap { cut in
        [false, true].map { Way(isCut: cut, isPrepared: $0) }
    }

    @Test("The next boot dies at any store, and the old one goes on", arguments: ways) func oldOneGoesOn(way: Way)
        throws
    {
        for stop in 0...(try stores(way).takenOver) {
            let world = try World(way)
            try world.trial(CrashProbe(stop: stop, cutsInTheMiddle: way.isCut))
            try world.old.thaw()
            try world.expect(world.old, world.views.old, "stopped at store \(stop)")
        }
    }

    @Test("If both die before the switch, takingBack finds the old boot", arguments: ways) func bothDie(way: Way)
        throws
    {
        for stop in 0...(try stores(way).takenOver) {
            let world = try World(way)
            try world.trial(CrashProbe(stop: stop, cutsInTheMiddle: way.isCut))
            try world.expect(
                try world.boot(.sameBoot, takingBack: true), world.views.old, "stopped at store \(stop)")
        }
    }

    @Test("The next boot dies after the switch, confirmed or not, and goes on with the answer", arguments: ways)
    func newOneGoesOn(way: Way) throws {
        let (takenOver, all) = try stores(way)
        #expect(takenOver > 2 && all > takenOver)
        for stop in takenOver...all {
            let world = try World(way)
            try world.trial(CrashProbe(stop: stop, cutsInTheMiddle: way.isCut), confirming: true)
            let next = try world.boot(.sameBoot)
            try world.expect(next, world.views.new, "stopped at store \(stop)")
            #expect(next.answer(on: Self.asked.request.connection) == Self.asked)
        }
    }

    @Test("The old boot dies at any store while it takes back the state from the next boot", arguments: ways)
    func thawDies(way: Way) throws {
        let counted = try World(way)
        try counted.trial(CrashProbe())
        let stores = try counted.storesOfThaw()
        #expect(stores > 2)
        var found: Set<UInt64> = []
        for stop in 0...stores {
            let world = try World(way)
            try world.trial(CrashProbe())
            _ = try world.storesOfThaw(stop, way.isCut)
            let last = try world.boot(.sameBoot, takingBack: true)
            let updates = try last.status().updateNumber
            found.insert(updates)
            // If the old boot died during the thaw, its boot may be over. Then the complete next boot goes on.
            let view = updates == world.views.old.updates ? world.views.old : world.views.new
            try world.expect(last, view, "stopped at store \(stop)")
        }
        #expect(found.contains(1))
    }
}

/// Passes all stores until it is armed.
private final class LateProbe: StoreProbe {
    private let armed = Guarded<CrashProbe?>(nil)

    func arm(_ probe: CrashProbe) { armed.with { $0 = probe } }

    func willStore(bytes count: Int) -> Int { armed.with { $0 }?.willStore(bytes: count) ?? count }
}
