// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The first page of an arena. The words before its tables never change from version to version:
///
/// | offset | content |
/// |---|---|
/// | 0 | u64 magic, stored last when an arena is made |
/// | 8 | u32 format version |
/// | 12 | u32 page size |
/// | 16 | u64 size of the arena in bytes |
/// | 24 | u64 generation: the commit word. Its lowest bit says which of the two tables of slots is true |
/// | 64, 192 | the tables: incoming tree, outgoing tree, journal, generation, checksum |
///
/// A change writes the table that is not true, and then stores the next generation: one aligned 8-byte store. A table
/// ends with its generation and a checksum, so that a damaged commit word cannot make an old table true.
enum Superblock {
    /// "LUOARENA" in memory order.
    static let magic: UInt64 = 0x414E_4552_414F_554C
    static let version: UInt32 = 1
    static let length: UInt64 = 4096

    static let magicOffset: UInt64 = 0
    static let versionOffset: UInt64 = 8
    static let pageSizeOffset: UInt64 = 12
    static let sizeOffset: UInt64 = 16
    static let generationOffset: UInt64 = 24

    /// The offsets of the table of even generations and of that of odd ones.
    static let tableOffsets: [UInt64] = [64, 192]

    static func tableOffset(generation: UInt64) -> UInt64 { generation % 2 == 0 ? 64 : 192 }
}

/// A part of the arena that the superblock names. The checksum covers the slot and the part.
struct Slot: Equatable, Sendable {
    static let length = 32

    var offset: UInt64
    var size: UInt64
    var generation: UInt64
    var checksum: UInt32

    static let none = Slot(offset: 0, size: 0, generation: 0, checksum: 0)

    var isPresent: Bool { offset != 0 }

    var range: Extent { Extent(offset: offset, length: size) }

    func encode(into writer: inout ByteWriter) {
        writer.put(offset)
        writer.put(size)
        writer.put(generation)
        writer.put(checksum)
        writer.put(UInt32(0))
    }

    init(offset: UInt64, size: UInt64, generation: UInt64, checksum: UInt32) {
        self.offset = offset
        self.size = size
        self.generation = generation
        self.checksum = checksum
    }

    init(_ reader: inout ByteReader) throws(ArenaError) {
        offset = try reader.take()
        size = try reader.take()
        generation = try reader.take()
        checksum = try reader.take()
        _ = try reader.take(UInt32.self)
    }

    /// The checksum of the slot's own words. The checksum of the slot continues it over the part.
    var ownChecksum: UInt32 {
        var writer = ByteWriter(capacity: 24)
        writer.put(offset)
        writer.put(size)
        writer.put(generation)
        return CRC32C.of(writer.bytes)
    }
}

/// The slots of both trees and of the journal, which become true together.
struct SlotTable: Equatable, Sendable {
    var incoming = Slot.none
    var outgoing = Slot.none
    var journal = Slot.none

    /// The length of the table: three slots, u64 generation, u32 CRC32C of all that, u32 zero.
    static let length = 3 * Slot.length + 16

    init() {}

    func bytes(generation: UInt64) -> [UInt8] {
        var writer = ByteWriter(capacity: Self.length)
        incoming.encode(into: &writer)
        outgoing.encode(into: &writer)
        journal.encode(into: &writer)
        writer.put(generation)
        writer.put(CRC32C.of(writer.bytes))
        writer.put(UInt32(0))
        return writer.bytes
    }

    init(_ reader: inout ByteReader) throws(ArenaError) {
        incoming = try Slot(&reader)
        outgoing = try Slot(&reader)
        journal = try Slot(&reader)
    }

    /// The slots, in the order in which they are checked.
    var parts: [(part: ArenaPart, slot: Slot)] {
        [(.incomingTree, incoming), (.outgoingTree, outgoing), (.journal, journal)]
    }

    /// The ranges of the parts that are present.
    var ranges: [Extent] { [incoming, outgoing, journal].filter(\.isPresent).map(\.range) }
}

/// A part of the arena that has a slot in the superblock.
package enum ArenaPart: String, CaseIterable, Sendable, CustomStringConvertible {
    /// The tree that the previous boot handed over.
    case incomingTree = "incoming tree"
    /// The tree for the next boot.
    case outgoingTree = "outgoing tree"
    /// The records of this boot.
    case journal

    package var description: String { rawValue }
}
