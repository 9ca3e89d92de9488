// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

// The checks that an arena must pass, in the order of the types here. Opening an arena stops at the first check that
// fails. An inspection makes all checks, and shows the result of each.

/// The words at the start of an arena, unchecked.
struct SuperblockWords: Equatable, Sendable {
    var magic: UInt64
    var version: UInt32
    var pageSize: UInt32
    var size: UInt64
    var generation: UInt64

    /// - Throws: `size` when the file has no room for a superblock.
    static func checkRoom(inFileOf fileSize: UInt64) throws(ArenaError) {
        guard fileSize >= Superblock.length else {
            throw ArenaError(.size, "the file has \(fileSize) bytes, and a superblock alone has \(Superblock.length)")
        }
    }

    init(_ source: some ArenaSource) throws(ArenaError) {
        var reader = ByteReader(source.read(at: 0, count: 24), "superblock")
        magic = try reader.take()
        version = try reader.take()
        pageSize = try reader.take()
        size = try reader.take()
        generation = source.committed(at: Superblock.generationOffset)
    }

    func checkMagic() throws(ArenaError) {
        if isZero {
            throw ArenaError(.magic, "its superblock is all zero: the arena is damaged, or the file never was one")
        }
        guard magic == Superblock.magic else { throw ArenaError(.magic, "this is no arena") }
    }

    private var isZero: Bool { magic == 0 && version == 0 && pageSize == 0 && size == 0 && generation == 0 }

    func checkVersion() throws(ArenaError) {
        guard version == Superblock.version else {
            throw ArenaError(.version, "version \(version), where only \(Superblock.version) is known")
        }
    }

    func checkPageSize() throws(ArenaError) {
        guard pageSize == UInt32(Superblock.length) else { throw ArenaError(.version, "pages of \(pageSize) bytes") }
    }

    func checkSize(inFileOf fileSize: UInt64) throws(ArenaError) {
        guard size >= Superblock.length, size <= fileSize, size % Superblock.length == 0 else {
            let isCut = size > fileSize && size % Superblock.length == 0
            throw ArenaError(.size, "\(size) bytes in a file of \(fileSize)" + (isCut ? ": the file was cut" : ""))
        }
    }

    /// Makes all checks, in order.
    func check(inFileOf fileSize: UInt64) throws(ArenaError) {
        try checkMagic()
        try checkVersion()
        try checkPageSize()
        try checkSize(inFileOf: fileSize)
    }
}

/// A table of slots that was read from one of its two places.
struct StoredTable: Equatable, Sendable {
    var table: SlotTable
    var generation: UInt64
    /// Whether the table has the right checksum.
    var isWhole: Bool

    init(_ source: some ArenaSource, at offset: UInt64) throws(ArenaError) {
        let bytes = source.read(at: offset, count: SlotTable.length)
        var reader = ByteReader(bytes, "table of slots")
        table = try SlotTable(&reader)
        generation = try reader.take()
        isWhole = try reader.take(UInt32.self) == CRC32C.of(bytes.dropLast(8))
    }

    func check(generation: UInt64) throws(ArenaError) {
        guard isWhole, self.generation == generation else {
            throw ArenaError(.checksum, "the table of slots is not that of generation \(generation)")
        }
    }
}

extension Slot {
    /// Checks that the part named by the slot lies in an arena of that size.
    func checkPlace(_ part: ArenaPart, size arena: UInt64) throws(ArenaError) {
        guard isPresent else {
            if self != .none { throw ArenaError(.checksum, "\(part): an empty slot that is not empty") }
            return
        }
        guard offset >= Superblock.length, offset % 8 == 0, size <= arena, offset <= arena - size,
            size >= JournalFormat.headerLength
        else { throw ArenaError(.checksum, "\(part) lies outside of the arena") }
    }

    /// Checks the checksum of the slot and of the part that it names. The place of the part was checked before.
    func checkContent(_ part: ArenaPart, _ source: some ArenaSource) throws(ArenaError) {
        guard isPresent else { return }
        let covered = part == .journal ? JournalFormat.fixedLength : Int(size)
        guard source.checksum(at: offset, count: covered, continuing: ownChecksum) == checksum else {
            throw ArenaError(.checksum, "\(part) at offset \(offset)")
        }
    }
}

/// The header of a journal's region, unchecked.
struct JournalHeader: Equatable, Sendable {
    var magic: UInt64
    var length: UInt64
    var firstSequence: UInt64
    var tail: UInt64

    /// Reads the header in a slot with a checked place.
    init(_ source: some ArenaSource, _ slot: Slot) throws(ArenaError) {
        var reader = ByteReader(source.read(at: slot.offset, count: JournalFormat.fixedLength), "journal header")
        magic = try reader.take()
        length = try reader.take()
        firstSequence = try reader.take()
        tail = source.committed(at: slot.offset + JournalFormat.tailOffset)
    }

    func check(_ slot: Slot) throws(ArenaError) {
        guard magic == JournalFormat.magic, length == slot.size else { throw ArenaError(.journal, "wrong header") }
        guard tail >= JournalFormat.headerLength, tail <= length, tail % 8 == 0 else {
            throw ArenaError(.journal, "the tail \(tail) is outside of the journal's \(length) bytes")
        }
    }
}
