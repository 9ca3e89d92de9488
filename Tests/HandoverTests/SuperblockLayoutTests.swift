// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// The bytes that never change from version to version, at the offsets in docs/abi.md. The offsets are literals here,
/// and do not come from the sources, because an old image must find them.
@Suite struct SuperblockLayoutTests {
    @Test func prefix() throws {
        let populated = try PopulatedArena()
        let bytes = try populated.file.bytes()
        #expect([UInt8](bytes[0..<8]) == [UInt8]("LUOARENA".utf8))
        #expect(integer(UInt32.self, bytes, at: 8) == 1, "the version")
        #expect(integer(UInt32.self, bytes, at: 12) == 4096, "the page size")
        #expect(integer(UInt64.self, bytes, at: 16) == UInt64(bytes.count), "the size")
        #expect(integer(UInt64.self, bytes, at: 24) == populated.generation)
        #expect(bytes[32..<64].allSatisfy { $0 == 0 })
    }

    @Test("A slot: u64 offset, u64 size, u64 generation, u32 CRC32C over these and their target, u32 zero")
    func slots() throws {
        let populated = try PopulatedArena()
        let bytes = try populated.file.bytes()
        let table = Int(populated.table)
        let slots = [
            (populated.incoming, populated.incoming.length), (populated.outgoing, populated.outgoing.length),
            (populated.journal, 24),
        ]
        for (index, (range, covered)) in slots.enumerated() {
            let slot = table + 32 * index
            #expect(integer(UInt64.self, bytes, at: slot) == range.offset)
            #expect(integer(UInt64.self, bytes, at: slot + 8) == range.length)
            let generation = integer(UInt64.self, bytes, at: slot + 16)
            #expect(generation > 0 && generation <= populated.generation)
            let own = CRC32C.of([UInt8](bytes[slot..<slot + 24]))
            let target = [UInt8](bytes[Int(range.offset)..<Int(range.offset + covered)])
            #expect(integer(UInt32.self, bytes, at: slot + 24) == CRC32C.of(target, continuing: own))
            #expect(integer(UInt32.self, bytes, at: slot + 28) == 0)
        }
    }

    @Test("The journal's header: u64 magic, u64 length, u64 first sequence number, at 32 the tail")
    func journalHeader() throws {
        let populated = try PopulatedArena()
        let bytes = try populated.file.bytes()
        let journal = Int(populated.journal.offset)
        #expect([UInt8](bytes[journal..<journal + 8]) == [UInt8]("LUOJRNL1".utf8))
        #expect(integer(UInt64.self, bytes, at: journal + 8) == populated.journal.length)
        let tail = integer(UInt64.self, bytes, at: journal + 32)
        #expect(tail == 64 + 40 + 32 + 24, "three records, each filled up to a multiple of eight")
    }

    @Test("A record: u32 length, u32 CRC32C of the rest, u64 sequence, u16 type, u16 zero, u32 bytes of payload")
    func records() throws {
        let populated = try PopulatedArena()
        let bytes = try populated.file.bytes()
        let first = integer(UInt64.self, bytes, at: Int(populated.journal.offset) + 16)
        for (index, place) in try populated.recordPlaces().enumerated() {
            let at = Int(place.offset)
            let expected = PopulatedArena.records[index]
            #expect(integer(UInt32.self, bytes, at: at) == UInt32(24 + (expected.payload.count + 7) / 8 * 8))
            let body = [UInt8](bytes[at + 8..<at + Int(place.length)])
            #expect(integer(UInt32.self, bytes, at: at + 4) == CRC32C.of(body))
            #expect(integer(UInt64.self, bytes, at: at + 8) == first + UInt64(index))
            #expect(integer(UInt16.self, bytes, at: at + 16) == expected.type)
            #expect(integer(UInt16.self, bytes, at: at + 18) == 0)
            #expect(integer(UInt32.self, bytes, at: at + 20) == UInt32(expected.payload.count))
            #expect([UInt8](bytes[at + 24..<at + 24 + expected.payload.count]) == expected.payload)
        }
    }

    @Test func theTwoTablesTakeTurns() throws {
        let file = try MemoryFile("arena", size: 0)
        let arena = try Arena.format(try file.duplicate(), Arena.Options(limit: 1 << 20))
        try arena.takeOver([], inUse: [])
        let odd = try file.bytes()
        #expect(arena.generation == 1)
        #expect(odd[64..<160].allSatisfy { $0 == 0 }, "the table of generation 0 says that nothing is there")
        #expect(odd[192..<288].contains { $0 != 0 })
        try arena.takeOver([], inUse: [])
        #expect(arena.generation == 2)
        #expect(try file.bytes()[192..<288] == odd[192..<288], "the table that was true stays as it was")
    }
}
