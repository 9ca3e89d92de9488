// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Readers open or refuse an arena with any content. The test does not check their answers. A crash of a reader ends
/// the program.
@Suite struct ArenaMutationTests {
    private static let specimens: [@Sendable () throws -> Specimen] = [
        { try .running() }, { try .published() }, { try .inBetween() }, { try .leftOut() },
    ]

    @Test("Over 100,000 damaged arenas, of four kinds, are opened or refused", arguments: 0..<4)
    func damagedArenas(kind: Int) async throws {
        let seed = announcedSeed("damaged arenas, kind \(kind)")
        var generator = SeededGenerator(seed: seed &+ UInt64(kind))
        let specimen = try Self.specimens[kind]()
        let readers = try Readers()
        var tally = Tally()
        let rounds = Scale.count(34_000)
        for round in 0..<rounds {
            specimen.damage(&generator)
            if Bool.random(using: &generator) { specimen.repair() }
            try readers.read(specimen, using: round % 8 == 0, &tally)
            specimen.restore()
            // Other tests wait with time limits, and need the thread from time to time.
            if round % 64 == 0 { await Task.yield() }
        }
        print("damaged arenas, \(specimen.name): \(tally)")
        // Both results must occur often, or the damage tests nothing.
        #expect(tally.opened > rounds / 10 && tally.refused > rounds / 2, "\(tally)")
        #expect(tally.trees + tally.journals > rounds / 20, "\(tally)")
    }

    @Test func undamagedSpecimensOpen() throws {
        let readers = try Readers()
        for make in Self.specimens {
            let specimen = try make()
            var tally = Tally()
            try readers.read(specimen, using: true, &tally)
            specimen.repair()
            try readers.read(specimen, using: true, &tally)
            #expect(tally.refused == 0 && tally.opened == 4, "\(specimen.name): \(tally)")
        }
    }
}

/// The number of times that the readers reached each stage.
private struct Tally {
    var opened = 0
    var refused = 0
    /// Trees and journals with correct checksums that were refused because of their content.
    var trees = 0
    var journals = 0
}

/// All readers of an arena.
private struct Readers {
    private let descriptors = NoDescriptors()
    private let handlers: [any FileHandler]
    private let flbs: [any FileLifecycleBound]

    init() throws {
        handlers = ["a-v1", "b-v1", "holds-nothing-v1"].map { QuietHandler(compatible: $0) }
        flbs = handlers.map { TestFLB("flb-\($0.compatible)") }
    }

    /// Runs all readers. `using` says whether a boot that opens is also used.
    func read(_ specimen: Specimen, using: Bool, _ tally: inout Tally) throws {
        let damaged = specimen.copy()
        for opening in [Orchestrator.Opening.sameBoot, .nextBoot] {
            guard let arena = open(specimen.file) else {
                tally.refused += 2
                return
            }
            if opening == .sameBoot { readParts(arena, &tally) }
            if let boot = boot(arena, opening) {
                tally.opened += 1
                if using { use(boot) }
            } else {
                tally.refused += 1
            }
            // A boot that opens writes to the arena.
            specimen.restore(damaged)
        }
    }

    private func open(_ file: MemoryFile) -> Arena? {
        guard let copy = try? file.duplicate() else { return nil }
        return try? Arena(opening: copy, Specimen.options)
    }

    private func readParts(_ arena: Arena, _ tally: inout Tally) {
        for tree in [arena.incomingTree, arena.outgoingTree].compactMap({ $0 }) {
            if (try? LuoTreeReader(arena: arena, range: tree).read()) == nil { tally.trees += 1 }
        }
        guard let records = try? arena.journalRecords() else {
            tally.journals += 1
            return
        }
        var state = BootState()
        do {
            for record in records { try state.apply(Event(record)) }
        } catch {
            tally.journals += 1
        }
    }

    private func boot(_ arena: Arena, _ opening: Orchestrator.Opening) -> Orchestrator? {
        let orchestrator = Orchestrator(arena: arena, descriptors: descriptors, opening: opening)
        do {
            for (handler, flb) in zip(handlers, flbs) {
                try orchestrator.register(handler)
                try orchestrator.register(flb, on: handler)
            }
            try orchestrator.open()
            _ = try orchestrator.status()
            return orchestrator
        } catch {
            return nil
        }
    }

    /// Uses the orchestrator, because impossible state must not cause a trap later.
    private func use(_ orchestrator: Orchestrator) {
        _ = try? orchestrator.createSession("one more")
        for session in (try? orchestrator.openSessions) ?? [] { try? session.close() }
        try? orchestrator.finishDiscarded()
        _ = try? orchestrator.publish(discardingUnfinished: true)
    }
}

/// A handler that does nothing, and so is fast.
final class QuietHandler: FileHandler {
    let compatible: String

    init(compatible: String) { self.compatible = compatible }

    func canPreserve(_ descriptor: FileDescriptor) -> Acceptance { .accepted }
    func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { 0 }
    func unpreserve(_ file: FileContext) {}
    func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile { .kept }
    func finish(_ file: FileContext) {}
}

/// A store without descriptors. A damaged record can name any slot, which must not be a descriptor of this program.
struct NoDescriptors: DescriptorStore {
    private let none = LiveUpdateError(.badFileDescriptor, "no descriptor is kept")

    func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity { throw none }
    func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot { throw none }
    func descriptor(in slot: DescriptorSlot) -> FileDescriptor? { nil }
    func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> OwnedDescriptor { throw none }
    func release(_ slot: DescriptorSlot) {}
}
