// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Each gate refuses with its own name before the gates after it run, and changes nothing.
@Suite struct GateTests {
    private let arena: PopulatedArena

    init() throws { arena = try PopulatedArena() }

    private func expect(
        _ gate: ArenaError.Gate, _ reason: String = "", sourceLocation: SourceLocation = #_sourceLocation
    )
        throws
    {
        let before = try arena.file.bytes()
        let error = try #require(refusal(arena.file), sourceLocation: sourceLocation)
        #expect(error.gate == gate, "\(error)", sourceLocation: sourceLocation)
        #expect(error.reason.contains(reason), "\(error)", sourceLocation: sourceLocation)
        #expect(try arena.file.bytes() == before, "it was left untouched", sourceLocation: sourceLocation)
    }

    @Test func aWholeArenaOpens() throws {
        #expect(refusal(arena.file) == nil)
        let opened = try Arena(opening: try arena.file.duplicate(), Arena.Options(limit: 1 << 20))
        #expect(opened.incomingTree == arena.incoming)
        #expect(opened.outgoingTree == arena.outgoing)
        #expect(opened.journal == arena.journal)
        #expect(try opened.journalRecords() == PopulatedArena.records)
    }

    @Test("owner: another open file description, as another process would have, is locked out")
    func owner() throws {
        let opened = try Arena(opening: try arena.file.duplicate(), Arena.Options(limit: 1 << 20))
        let number = unsafe Glibc.open("/proc/self/fd/\(arena.file.descriptor.rawValue)", O_RDWR | O_CLOEXEC)
        let other = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        let error = withExtendedLifetime(opened) {
            arenaFailure { try Arena(opening: try other.borrowed.duplicated(), Arena.Options(limit: 1 << 20)) }
        }
        #expect(error?.gate == .owner)
        #expect(error?.errno == .resourceTemporarilyUnavailable)
    }

    @Test("owner comes first, even when everything else in the arena is wrong")
    func ownerComesFirst() throws {
        try arena.file.descriptor.lockForWriting()
        try arena.file.descriptor.setSize(0)
        let number = unsafe Glibc.open("/proc/self/fd/\(arena.file.descriptor.rawValue)", O_RDWR | O_CLOEXEC)
        let other = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        #expect(arenaFailure { try Arena(opening: try other.borrowed.duplicated()) }?.gate == .owner)
    }

    @Test(arguments: [0, 1, 4095]) func sizeOfAFileThatHasNoSuperblock(bytes: UInt64) throws {
        try arena.file.descriptor.setSize(bytes)
        try expect(.size, "\(bytes) bytes")
    }

    @Test func sizeOfATruncatedFile() throws {
        let size = try FileStatus(of: arena.file.descriptor).size
        try arena.file.descriptor.setSize(size - 1)
        try expect(.size, "\(size) bytes in a file of \(size - 1)")
    }

    @Test("A file that was cut at any page is refused, and no access goes beyond its end")
    func sizeOfAFileThatWasCut() throws {
        let size = try FileStatus(of: arena.file.descriptor).size
        for pages in (1..<size / 4096).reversed() {
            try arena.file.descriptor.setSize(pages * 4096)
            try expect(.size, "\(size) bytes in a file of \(pages * 4096): the file was cut")
        }
    }

    @Test("A superblock of zeros is named, with and without content after it") func allZero() throws {
        try arena.file.write([UInt8](repeating: 0, count: 4096), at: 0)
        try expect(.magic, "its superblock is all zero")
        try arena.file.write(word: UInt32(1), at: 8)
        try expect(.magic, "this is no arena")
    }

    @Test(arguments: [0, 4095, 4097, UInt64.max, 1 << 63]) func sizeThatCannotBe(size: UInt64) throws {
        try arena.file.write(word: size, at: 16)
        try expect(.size)
    }

    @Test func magic() throws {
        try arena.file.write([0], at: 0)
        try arena.file.write(word: UInt32(99), at: 8)
        try expect(.magic)
    }

    @Test func version() throws {
        try arena.file.write(word: UInt32(2), at: 8)
        try arena.file.write(word: UInt64(0), at: 16)
        try expect(.version, "version 2")
    }

    @Test func pageSize() throws {
        try arena.file.write(word: UInt32(16384), at: 12)
        try expect(.version, "pages of 16384 bytes")
    }

    @Test(arguments: [(0, "incoming tree"), (1, "outgoing tree"), (2, "journal")])
    func checksumOfASlot(slot: UInt64, name: String) throws {
        for offset in stride(from: UInt64(0), to: 28, by: 4) {
            let at = arena.table + 32 * slot + offset
            let bytes = try arena.file.bytes()
            let word = integer(UInt32.self, bytes, at: Int(at))
            try arena.file.write(word: word ^ 0x10, at: at)
            try expect(.checksum, "the table of slots")
            try arena.repairTable()
            try expect(.checksum, name)
            try arena.file.write(word: word, at: at)
            try arena.repairTable()
        }
        #expect(refusal(arena.file) == nil)
    }

    @Test("A damaged commit word makes no older table valid, and no arena empty")
    func generations() throws {
        for generation in [0, 1, arena.generation - 2, arena.generation + 2, UInt64.max] {
            try arena.file.write(word: generation, at: 24)
            try expect(.checksum, "generation \(generation)")
        }
    }

    @Test func checksumOfATree() throws {
        for (tree, name) in [(arena.incoming, "incoming tree"), (arena.outgoing, "outgoing tree")] {
            let byte = try arena.file.bytes()[Int(tree.end) - 1]
            try arena.file.write([byte ^ 1], at: tree.end - 1)
            try expect(.checksum, name)
            try arena.file.write([byte], at: tree.end - 1)
        }
    }

    @Test(arguments: [0, 8, 16]) func checksumOfTheJournalsHeader(offset: UInt64) throws {
        try arena.file.write([0xFF], at: arena.journal.offset + offset)
        try expect(.checksum, "journal")
    }

    @Test func aSlotWithARightChecksumMustLieInTheArena() throws {
        try arena.file.write(word: arena.outgoing.offset + 4, at: arena.table + 32)
        try arena.repairSlot(1, covered: 256)
        try expect(.checksum, "outgoing tree lies outside")
    }

    @Test func anEmptySlotMustBeEmpty() throws {
        try arena.file.write(word: UInt64(0), at: arena.table + 32)
        try arena.repairTable()
        try expect(.checksum, "outgoing tree")
    }

    @Test func aJournalWithARightChecksumMustHaveItsMagic() throws {
        try arena.file.write(word: UInt64(1), at: arena.journal.offset)
        try arena.repairSlot(2, covered: 24)
        try expect(.journal, "wrong header")
    }

    @Test(arguments: [0, 56, 65, UInt64.max]) func aTailOutOfRange(tail: UInt64) throws {
        try arena.file.write(word: tail, at: arena.journal.offset + 32)
        try expect(.journal, "the tail \(tail)")
    }

    @Test func aTailBehindTheRegion() throws {
        try arena.file.write(word: arena.journal.length + 8, at: arena.journal.offset + 32)
        try expect(.journal, "the tail")
    }

    @Test func theTableThatIsNotTrueIsNotLookedAt() throws {
        let other: UInt64 = arena.table == 64 ? 192 : 64
        try arena.file.write([UInt8](repeating: 0xFF, count: 112), at: other)
        #expect(refusal(arena.file) == nil)
    }
}
