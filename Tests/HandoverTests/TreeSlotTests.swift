// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

/// Publishing, taking over, taking back and dropping a tree. After each step the test checks the slots and the free
/// space.
@Suite struct TreeSlotTests {
    private let file: MemoryFile
    private let arena: Arena

    init() throws {
        file = try MemoryFile("arena", size: 0)
        arena = try Arena.format(try file.duplicate(), Arena.Options(limit: 1 << 20))
        try arena.takeOver([record(1)], inUse: [])
    }

    private func tree(_ byte: UInt8) throws -> Extent {
        let range = try arena.allocateReserved(512)
        arena.write([UInt8](repeating: byte, count: 512), at: range.offset)
        return range
    }

    @Test func publishedAndTakenBack() throws {
        let used = arena.used
        let tree = try tree(1)
        arena.publish(tree)
        #expect(arena.outgoingTree == tree)
        #expect(arena.incomingTree == nil)
        arena.withdraw()
        #expect(arena.outgoingTree == nil)
        #expect(arena.used == used)
        #expect(try arena.journalRecords() == [record(1)])
    }

    @Test func takingBackNothingDoesNothing() throws {
        let generation = arena.generation
        arena.withdraw()
        arena.dropIncoming()
        #expect(arena.generation == generation)
    }

    @Test("The next boot has the tree, and the old boot's space is free, except ranges that the tree names")
    func takenOver() throws {
        let kept = try arena.allocate(4096)
        _ = try arena.allocate(8192)
        let tree = try tree(2)
        arena.publish(tree)
        let next = try Arena(opening: try file.duplicate(), Arena.Options(limit: 1 << 20))
        try next.takeOver([record(7)], inUse: [kept])
        #expect(next.incomingTree == tree)
        #expect(next.outgoingTree == nil)
        #expect(try next.journalRecords() == [record(7)])
        let journal = try #require(next.journal)
        #expect(next.used == 4096 + 4096 + 512 + journal.length)
        next.dropIncoming()
        #expect(next.incomingTree == nil)
        #expect(next.used == 4096 + 4096 + journal.length)
    }

    @Test("Impossible ranges are refused, and nothing changes")
    func takeOverOfWhatCannotBe() throws {
        let tree = try tree(3)
        arena.publish(tree)
        let before = try file.bytes()
        let next = try Arena(opening: try file.duplicate(), Arena.Options(limit: 1 << 20))
        #expect(arenaFailure { try next.takeOver([record(7)], inUse: [tree]) }?.gate == .record)
        #expect(try file.bytes() == before)
        #expect(next.outgoingTree == tree)
    }

    @Test func generationsRise() throws {
        var last = arena.generation
        for change in [{ arena.publish(try tree(4)) }, { arena.withdraw() }, { try arena.takeOver([], inUse: []) }] {
            try change()
            #expect(arena.generation == last + 1)
            last = arena.generation
        }
    }
}
