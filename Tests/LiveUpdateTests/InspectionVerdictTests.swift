// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The inspection of a damaged arena agrees with the boot that opens it.
@Suite struct InspectionVerdictTests {
    private static let specimens: [@Sendable () throws -> Specimen] = [
        { try .running() }, { try .published() }, { try .inBetween() },
    ]

    @Test(
        "No refused one of 12,000 damaged arenas is shown as sound, and none that opens as damaged",
        arguments: 0..<3)
    func damagedArenas(kind: Int) async throws {
        let seed = announcedSeed("verdicts on damaged arenas, kind \(kind)")
        var generator = SeededGenerator(seed: seed &+ UInt64(kind))
        let specimen = try Self.specimens[kind]()
        let opener = Opener()
        var sound = 0
        var damaged = 0
        let rounds = Scale.count(4000)
        for round in 0..<rounds {
            specimen.damage(&generator)
            if Bool.random(using: &generator) { specimen.repair() }
            let inspection = Inspection(try ArenaSnapshot(of: specimen.file.descriptor))
            let refusals = opener.refusals(specimen)
            if inspection.failures.isEmpty { sound += 1 } else { damaged += 1 }
            compare(inspection, refusals)
            specimen.restore()
            if round % 64 == 0 { await Task.yield() }
        }
        print("verdicts, \(specimen.name): \(sound) sound, \(damaged) damaged")
        // Both results must occur often, or the damage tests nothing.
        #expect(sound > rounds / 20 && damaged > rounds / 2)
    }

    private func compare(_ inspection: Inspection, _ refusals: [Refusal]) {
        if inspection.failures.isEmpty {
            #expect(refusals.filter { !$0.isOurs }.map(\.reason) == [], "shown as sound")
        }
        if let gate = refusals.compactMap(\.gate).first {
            #expect(inspection.failures.first == gate, "the gate that refused comes first")
        }
        let known = inspection.failures.filter { isReadByBoots($0, inspection) }
        if refusals.isEmpty { #expect(known == [], "shown as damaged") }
    }

    /// Whether a boot reads the damaged part. Boots no longer read the tree of the previous boot, and read the records
    /// of a file's handler only when the file is retrieved.
    private func isReadByBoots(_ failure: ArenaError, _ inspection: Inspection) -> Bool {
        let previous = inspection.trees.first { $0.part == .incomingTree }?.failure
        return failure != previous && !failure.reason.hasPrefix("the records at")
    }

    @Test func undamagedSpecimensAreSound() throws {
        for make in Self.specimens {
            let specimen = try make()
            let inspection = Inspection(try ArenaSnapshot(of: specimen.file.descriptor))
            #expect(inspection.failures == [], "\(specimen.name)")
            #expect(Opener().refusals(specimen).isEmpty)
        }
    }

    @Test(
        "A change of any single byte in the superblock, the journal or the trees is found, if boots read it")
    func everyByte() throws {
        let specimen = try Specimen.inBetween()
        let whole = specimen.copy()
        for place in specimen.places {
            for at in stride(from: Int(place.offset), to: Int(place.end), by: Scale.stride) {
                var bytes = whole
                bytes[at] ^= 0x5A
                let failures = Inspection(ArenaSnapshot(bytes)).failures
                specimen.restore(bytes)
                let refusals = Opener().refusals(specimen)
                #expect(failures.isEmpty == refusals.isEmpty, "byte \(at): \(failures), \(refusals)")
            }
        }
        specimen.restore()
    }
}

/// The reason why a boot did not open an arena.
private struct Refusal {
    /// The gate that refused; nil if the arena opened, and its content was refused.
    var gate: ArenaError?
    var reason: String
    /// Whether the reason is one that an inspection cannot know: the handlers, or the limit of the arena.
    var isOurs = false
}

/// Opens an arena as boots do, in both ways, and then restores it.
private struct Opener {
    private let handlers = ["a-v1", "b-v1"].map { QuietHandler(compatible: $0) }

    func refusals(_ specimen: Specimen) -> [Refusal] {
        let before = specimen.copy()
        defer { specimen.restore(before) }
        return [Orchestrator.Opening.sameBoot, .nextBoot].compactMap { opening in
            specimen.restore(before)
            do {
                try open(specimen.file, opening)
                return nil
            } catch let error as ArenaError {
                return Refusal(gate: error, reason: error.description)
            } catch let error as LiveUpdateError {
                return Refusal(reason: error.description, isOurs: isOurs(error))
            } catch {
                return Refusal(reason: "\(error)")
            }
        }
    }

    private func isOurs(_ error: LiveUpdateError) -> Bool {
        error.errno == .noSpace || error.reason.contains("no handler knows") || error.reason.contains("is registered")
    }

    private func open(_ file: MemoryFile, _ opening: Orchestrator.Opening) throws {
        let arena = try Arena(opening: try file.duplicate(), Specimen.options)
        if opening == .sameBoot { _ = try arena.journalRecords() }
        let orchestrator = Orchestrator(arena: arena, descriptors: NoDescriptors(), opening: opening)
        for handler in handlers {
            try orchestrator.register(handler)
            try orchestrator.register(TestFLB("flb-\(handler.compatible)"), on: handler)
        }
        try orchestrator.open()
    }
}
