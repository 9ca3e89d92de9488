// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import TestSupport

@testable import LiveUpdateHandover

/// An arena with both trees and a journal of three records, written to a file.
struct PopulatedArena {
    let file: MemoryFile
    let incoming: Extent
    let outgoing: Extent
    let journal: Extent
    let generation: UInt64
    static let records = [record(1), record(2, bytes: 5), record(3, bytes: 0)]

    init() throws {
        file = try MemoryFile("arena", size: 0)
        let arena = try Arena.format(try file.duplicate(), Arena.Options(limit: 1 << 20))
        try arena.takeOver([], inUse: [])
        try Self.publish(arena, filledWith: 0x11)
        try arena.takeOver(Self.records, inUse: [])
        try Self.publish(arena, filledWith: 0x22)
        incoming = arena.incomingTree ?? Extent(offset: 0, length: 0)
        outgoing = arena.outgoingTree ?? Extent(offset: 0, length: 0)
        journal = arena.journal ?? Extent(offset: 0, length: 0)
        generation = arena.generation
    }

    private static func publish(_ arena: Arena, filledWith byte: UInt8) throws {
        let tree = try arena.allocateReserved(256)
        arena.write([UInt8](repeating: byte, count: 256), at: tree.offset)
        arena.publish(tree)
    }

    /// The offset of the valid table of slots.
    var table: UInt64 { generation % 2 == 0 ? 64 : 192 }

    /// The range of each record of the journal.
    func recordPlaces() throws -> [Extent] {
        let bytes = try file.bytes()
        var places: [Extent] = []
        var at = journal.offset + 64
        let end = journal.offset + integer(UInt64.self, bytes, at: Int(journal.offset) + 32)
        while at < end {
            let length = UInt64(integer(UInt32.self, bytes, at: Int(at)))
            places.append(Extent(offset: at, length: length))
            at += length
        }
        return places
    }

    /// Repairs the checksum of a changed record.
    func repairRecord(at offset: UInt64) throws {
        let bytes = try file.bytes()
        let length = Int(integer(UInt32.self, bytes, at: Int(offset)))
        let body = [UInt8](bytes[Int(offset) + 8..<Int(offset) + length])
        try file.write(word: CRC32C.of(body), at: offset + 4)
    }

    /// Repairs the checksum of a changed slot. `covered` is the number of bytes of the slot's target that the checksum
    /// covers.
    func repairSlot(_ index: UInt64, covered: UInt64) throws {
        let slot = table + 32 * index
        let bytes = try file.bytes()
        let own = CRC32C.of([UInt8](bytes[Int(slot)..<Int(slot) + 24]))
        let target = Int(integer(UInt64.self, bytes, at: Int(slot)))
        try file.write(
            word: CRC32C.of([UInt8](bytes[target..<target + Int(covered)]), continuing: own), at: slot + 24)
        try repairTable()
    }

    /// Repairs the checksum of the valid table, which follows its slots and its generation.
    func repairTable() throws {
        let bytes = try file.bytes()
        try file.write(word: CRC32C.of([UInt8](bytes[Int(table)..<Int(table) + 104])), at: table + 104)
    }
}
