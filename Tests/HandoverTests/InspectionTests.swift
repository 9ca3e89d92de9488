// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateHandover

/// An inspection of an intact arena, and of the readable parts of a damaged one.
@Suite struct InspectionTests {
    private let arena: PopulatedArena

    init() throws { arena = try PopulatedArena() }

    private func inspect(limit: UInt64 = ArenaSnapshot.defaultLimit) throws -> ArenaInspection {
        ArenaInspection(try ArenaSnapshot(of: arena.file.descriptor, limit: limit))
    }

    private func records(_ inspection: ArenaInspection) -> [JournalRecord] {
        inspection.journal?.entries.map(\.record) ?? []
    }

    @Test func aWholeArena() throws {
        let found = try inspect()
        #expect(found.failures.isEmpty)
        #expect(found.words?.generation == arena.generation)
        #expect(found.tables.map(\.offset) == [64, 192])
        #expect(found.tables.map(\.isWhole) == [true, true])
        #expect(found.tables.map(\.isTrue) == [arena.table == 64, arena.table == 192])
        #expect(found.tables.map(\.isInUse) == found.tables.map(\.isTrue))
        #expect(found.place(of: .incomingTree) == arena.incoming)
        #expect(found.place(of: .outgoingTree) == arena.outgoing)
        #expect(found.journal?.place == arena.journal)
        #expect(records(found) == PopulatedArena.records)
        #expect(try found.journal?.entries.map(\.offset) == arena.recordPlaces().map(\.offset))
    }

    @Test func itTellsWhetherSomebodyHasTheLock() throws {
        let other = try arena.file.descriptor.reopenedForReading()
        #expect(try ArenaSnapshot(of: other.borrowed).isLocked == true)
        let nobodys = try MemoryFile("arena", bytes: try arena.file.bytes())
        #expect(try ArenaSnapshot(of: nobodys.descriptor).isLocked == false)
        let opened = try Arena(opening: try nobodys.duplicate())
        let looking = try nobodys.descriptor.reopenedForReading()
        #expect(try ArenaSnapshot(of: looking.borrowed).isLocked == true)
        withExtendedLifetime(opened) {}
        #expect(refusal(nobodys) == nil, "looking has taken no lock")
    }

    // MARK: Gates

    /// Damage that an opener reports as one error. The inspection reports the same error first.
    @Test(arguments: Damage.all) func theGateThatRefuses(damage: Damage) throws {
        try damage.make(arena)
        let refused = try #require(refusal(arena.file) ?? recordsRefusal(), "\(damage.name)")
        let found = try inspect()
        #expect(found.failures.first == refused, "\(damage.name)")
        #expect(refused.gate == damage.gate, "\(damage.name): \(refused)")
        #expect(records(found).count == damage.records, "\(damage.name)")
        #expect((found.place(of: .outgoingTree) != nil) == damage.showsTree, "\(damage.name)")
    }

    private func recordsRefusal() -> ArenaError? {
        arenaFailure { try Arena(opening: try arena.file.duplicate()).journalRecords() }
    }

    @Test func withAWrongGenerationTheNewestWholeTableIsFollowed() throws {
        try arena.file.write(word: arena.generation + 7, at: 24)
        let found = try inspect()
        #expect(found.failures.map(\.gate) == [.checksum])
        #expect(found.tables.allSatisfy { !$0.isTrue })
        #expect(found.tables.first(where: \.isInUse)?.generation == arena.generation)
        #expect(records(found) == PopulatedArena.records)
    }

    @Test func theTableThatIsNotTrueMayBeHalfWritten() throws {
        try arena.file.write(word: UInt64(0xFFFF), at: arena.table == 64 ? 192 : 64)
        let found = try inspect()
        #expect(found.failures.isEmpty)
        #expect(found.tables.filter(\.isWhole).count == 1)
    }

    @Test("When several gates refuse, all are named in order") func severalGates() throws {
        try arena.file.write(word: UInt32(2), at: 8)
        try arena.file.write([0xFF], at: arena.outgoing.offset)
        try arena.file.write(word: UInt64(1), at: arena.journal.offset + 32)
        #expect(try inspect().failures.map(\.gate) == [.version, .checksum, .journal])
    }

    // MARK: Files

    @Test(arguments: [0, 1, 4095]) func aFileWithoutRoomForASuperblock(size: UInt64) throws {
        try arena.file.descriptor.setSize(size)
        let found = try inspect()
        #expect(found.failures.map(\.gate) == [.size])
        #expect(found.words == nil && found.tables.isEmpty && found.journal == nil)
    }

    @Test("An arena that is cut anywhere is refused, and the rest is shown")
    func truncations() throws {
        let whole = try arena.file.bytes()
        for size in stride(from: whole.count - 1, to: 4096, by: -Scale.stride * 509) {
            let found = ArenaInspection(ArenaSnapshot([UInt8](whole.prefix(size))))
            #expect(found.failures.first?.gate == .size, "\(size)")
            #expect(found.size <= UInt64(size))
        }
    }

    @Test func whatIsNoArenaIsOnlyLookedAtFirst() throws {
        let file = try MemoryFile("large", size: 1 << 50)
        let snapshot = try ArenaSnapshot(of: file.descriptor)
        #expect(snapshot.bytes.count == 4096 && snapshot.fileSize == 1 << 50)
        #expect(ArenaInspection(snapshot).failures.map(\.gate) == [.magic])
    }

    @Test func anArenaInALongerFile() throws {
        try arena.file.descriptor.setSize(1 << 50)
        let found = try inspect(limit: 1 << 20)
        #expect(found.failures.isEmpty)
        #expect(found.snapshot.bytes.count == 1 << 20)
    }

    @Test func anArenaLargerThanTheLimit() throws {
        let error = arenaFailure { try inspect(limit: 8192) }
        #expect(error?.gate == .space && error?.errno == .fileTooLarge)
        try arena.file.descriptor.setSize(1 << 50)
        try arena.file.write(word: UInt64(1) << 50, at: 16)
        #expect(arenaFailure { try inspect(limit: 1 << 20) }?.errno == .fileTooLarge)
    }

    @Test func aSizeThatCannotBeDoesNotHideTheRest() throws {
        for size in [0, 4097, UInt64.max] {
            try arena.file.write(word: size, at: 16)
            let found = try inspect()
            #expect(found.failures.map(\.gate) == [.size])
            #expect(records(found) == PopulatedArena.records)
        }
    }

    @Test("An inspection reports each failed system call that it needs") func systemCallsThatFail() throws {
        var refused = 0
        for number in 1... {
            let (outcome, calls) = FaultInjector.failing(call: number, with: .ioError, fromThenOn: true) {
                arenaFailure { try ArenaSnapshot(of: arena.file.descriptor) }
            }
            if calls < number { break }
            if let outcome {
                #expect(outcome.gate == .size && outcome.errno == .ioError && outcome.reason.contains("cannot be read"))
                refused += 1
            }
        }
        #expect(refused > 4)
    }

    @Test func nothingIsWritten() throws {
        let before = try arena.file.bytes()
        let readOnly = try arena.file.descriptor.reopenedForReading()
        _ = ArenaInspection(try ArenaSnapshot(of: readOnly.borrowed))
        #expect(try arena.file.bytes() == before)
    }
}

/// A change of a populated arena that one gate refuses.
struct Damage: Sendable, CustomTestStringConvertible {
    let name: String
    let gate: ArenaError.Gate
    /// The number of records that are still shown.
    var records = PopulatedArena.records.count
    var showsTree = true
    let make: @Sendable (PopulatedArena) throws -> Void

    var testDescription: String { name }

    static let all = [
        Damage(name: "magic", gate: .magic) { try $0.file.write([0], at: 3) },
        Damage(name: "version", gate: .version) { try $0.file.write(word: UInt32(9), at: 8) },
        Damage(name: "page size", gate: .version) { try $0.file.write(word: UInt32(16384), at: 12) },
        Damage(name: "size", gate: .size) { try $0.file.write(word: UInt64.max, at: 16) },
        Damage(name: "generation", gate: .checksum) { try $0.file.write(word: $0.generation ^ 0x100, at: 24) },
        // The other table is older, and has no outgoing tree.
        Damage(name: "true table", gate: .checksum, showsTree: false) { try $0.file.write([0xFF], at: $0.table + 30) },
        Damage(name: "incoming slot", gate: .checksum) { arena in
            try arena.file.write(word: arena.incoming.offset ^ 64, at: arena.table)
            try arena.repairTable()
        },
        Damage(name: "outgoing slot, outside", gate: .checksum, showsTree: false) { arena in
            try arena.file.write(word: UInt64(1) << 40, at: arena.table + 32)
            try arena.repairTable()
        },
        Damage(name: "journal slot, outside", gate: .checksum, records: 0) { arena in
            try arena.file.write(word: UInt64.max - 7, at: arena.table + 64)
            try arena.repairTable()
        },
        Damage(name: "content of a tree", gate: .checksum) { try $0.file.write([0], at: $0.outgoing.offset + 9) },
        Damage(name: "header of the journal", gate: .checksum) { try $0.file.write([0], at: $0.journal.offset) },
        Damage(name: "magic of the journal", gate: .journal) { arena in
            try arena.file.write(word: UInt64(1), at: arena.journal.offset)
            try arena.repairSlot(2, covered: 24)
        },
        Damage(name: "tail", gate: .journal) { try $0.file.write(word: UInt64.max, at: $0.journal.offset + 32) },
        Damage(name: "first record", gate: .journal, records: 0) { arena in
            try arena.file.write([0xAA], at: try arena.recordPlaces()[0].offset + 20)
        },
        Damage(name: "last record", gate: .journal, records: 2) { arena in
            try arena.file.write([0xAA], at: try arena.recordPlaces()[2].offset + 4)
        },
        Damage(name: "length of a record", gate: .journal, records: 1) { arena in
            try arena.file.write(word: UInt32.max, at: try arena.recordPlaces()[1].offset)
        },
    ]
}
