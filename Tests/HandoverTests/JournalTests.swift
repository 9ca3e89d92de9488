// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

@Suite struct JournalTests {
    private let file: MemoryFile
    private let arena: Arena

    init() throws {
        file = try MemoryFile("arena", size: 0)
        arena = try Arena.format(try file.duplicate(), Arena.Options(limit: 4 << 20))
    }

    private func reopened() throws -> [JournalRecord] {
        let again = try Arena(opening: try file.duplicate(), Arena.Options(limit: 4 << 20))
        return try again.journalRecords()
    }

    @Test func noJournalAtFirst() throws {
        #expect(arena.journal == nil)
        #expect(try arena.journalRecords() == [])
    }

    @Test func recordsComeBackInOrder() throws {
        try arena.takeOver([record(1)], inUse: [])
        try arena.commit([record(2, bytes: 3), record(3, bytes: 0)], acquiring: true) { [] }
        try arena.commit([record(4, bytes: 8)], acquiring: false) { [] }
        let expected = [record(1), record(2, bytes: 3), record(3, bytes: 0), record(4, bytes: 8)]
        #expect(try arena.journalRecords() == expected)
        #expect(try reopened() == expected)
    }

    @Test("A full journal is rewritten: the snapshot, and the records of the commit")
    func compaction() throws {
        try arena.takeOver([], inUse: [])
        let place = arena.journal
        var asked = 0
        var number = 0
        while asked == 0 {
            number += 1
            try arena.commit([record(number, bytes: 100)], acquiring: true) {
                asked += 1
                return [record(50001), record(50002)]
            }
        }
        #expect(number > 50)
        #expect(arena.journal != place)
        let expected = [record(50001), record(50002), record(number, bytes: 100)]
        #expect(try arena.journalRecords() == expected)
        #expect(try reopened() == expected)
    }

    @Test("Compaction again and again needs no more room than two journals")
    func compactionLeaksNothing() throws {
        try arena.takeOver([], inUse: [])
        var sizes: Set<UInt64> = []
        var used: Set<UInt64> = []
        for number in 0..<3000 {
            try arena.commit([record(number, bytes: 100)], acquiring: true) { [record(1)] }
            if number > 1000 {
                sizes.insert(arena.size)
                used.insert(arena.used)
            }
        }
        #expect(sizes.count == 1)
        #expect(used.count == 1)
    }

    @Test func oneCommitLargerThanTheJournal() throws {
        try arena.takeOver([], inUse: [])
        let many = (0..<2000).map { record($0, bytes: 64) }
        try arena.commit(many, acquiring: true) { [record(50000)] }
        #expect(try reopened() == [record(50000)] + many)
    }

    @Test("Reserved room is available")
    func ensureRoom() throws {
        try arena.takeOver([], inUse: [])
        for number in 0..<500 {
            try arena.ensureRoom(4096) { [record(50000)] }
            let journal = try #require(arena.journal)
            try arena.commit([record(number, bytes: 4000)], acquiring: false) {
                Issue.record("written anew although there was room")
                return []
            }
            #expect(arena.journal == journal)
        }
    }

    @Test("A commit is one store: before the tail is stored, an opener sees none of the records")
    func commitIsAtomic() throws {
        try arena.takeOver([record(1)], inUse: [])
        // This allocation makes the arena large enough for the commits below.
        _ = try arena.allocate(64 << 10)
        for stop in 0..<2 {
            let probe = StopAt(stop)
            let dying = try Arena(opening: try file.duplicate(), Arena.Options(limit: 4 << 20, probe: probe))
            _ = try dying.journalRecords()
            try dying.claim(inUse: [])
            try dying.commit([record(2), record(3)], acquiring: true) { [] }
            #expect(probe.stores == 2, "the records, and the tail")
            #expect(try reopened() == [record(1)])
        }
    }

    @Test("An arena with an interrupted format is refused: the magic is stored last")
    func makingIsAtomic() throws {
        let whole = StopAt(.max)
        _ = try Arena.format(try MemoryFile("arena", size: 0).duplicate(), Arena.Options(limit: 1 << 20, probe: whole))
        for stop in 0..<whole.stores {
            let file = try MemoryFile("arena", size: 1 << 20)
            _ = try Arena.format(try file.duplicate(), Arena.Options(limit: 1 << 20, probe: StopAt(stop)))
            #expect(refusal(file)?.gate == .magic, "stopped at store \(stop)")
        }
    }
}

/// Ends the writer's life at one of its stores.
private final class StopAt: StoreProbe {
    private let limit: Int
    private let count = Guarded(0)

    init(_ limit: Int) { self.limit = limit }

    var stores: Int { count.with { $0 } }

    func willStore(bytes: Int) -> Int {
        count.with { count in
            defer { count += 1 }
            return count < limit ? bytes : 0
        }
    }
}
