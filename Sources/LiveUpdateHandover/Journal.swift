// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// One record of the journal. Only the code that writes it knows its meaning.
package struct JournalRecord: Equatable, Sendable {
    /// The type of the record.
    package var type: UInt16
    /// The fields of the record, packed.
    package var payload: [UInt8]

    /// Makes a record.
    package init(type: UInt16, payload: [UInt8]) {
        self.type = type
        self.payload = payload
    }
}

/// The format of the journal's region: a header, then one record after another up to the tail.
///
/// | offset | header |
/// |---|---|
/// | 0 | u64 magic |
/// | 8 | u64 length of the region |
/// | 16 | u64 sequence number of the first record |
/// | 32 | u64 tail: bytes in use, from the region's start. The commit word of every request |
///
/// | offset | record |
/// |---|---|
/// | 0 | u32 length with this header, a multiple of 8 |
/// | 4 | u32 CRC32C of the rest of the record |
/// | 8 | u64 sequence number |
/// | 16 | u16 type, u16 zero, u32 length of the payload |
/// | 24 | the payload, padded with zeros |
enum JournalFormat {
    /// "LUOJRNL1" in memory order.
    static let magic: UInt64 = 0x314C_4E52_4A4F_554C
    static let headerLength: UInt64 = 64
    /// The length of the part of the header that never changes. The slot's checksum covers it.
    static let fixedLength = 24
    static let tailOffset: UInt64 = 32
    static let recordHeaderLength = 24

    static func header(length: UInt64, firstSequence: UInt64) -> [UInt8] {
        var writer = ByteWriter(capacity: Int(headerLength))
        writer.put(magic)
        writer.put(length)
        writer.put(firstSequence)
        writer.pad(Int(headerLength) - fixedLength)
        return writer.bytes
    }

    static func encode(_ records: [JournalRecord], firstSequence: UInt64) -> [UInt8] {
        var writer = ByteWriter(capacity: records.reduce(0) { $0 + encodedLength($1) })
        for (index, record) in records.enumerated() {
            let start = writer.count
            let length = encodedLength(record)
            writer.put(UInt32(length))
            writer.put(UInt32(0))
            writer.put(firstSequence &+ UInt64(index))
            writer.put(record.type)
            writer.put(UInt16(0))
            writer.put(UInt32(record.payload.count))
            writer.put(record.payload)
            writer.pad(length - recordHeaderLength - record.payload.count)
            writer.put(writer.checksum(from: start + 8), at: start + 4)
        }
        return writer.bytes
    }

    static func encodedLength(_ record: JournalRecord) -> Int {
        recordHeaderLength + (record.payload.count + 7) / 8 * 8
    }
}

/// Decodes the records of a journal, one after the other. It returns a record only after it has checked the record's
/// checksum and its place in the sequence.
struct JournalReader {
    /// The bytes of the remaining records.
    private var bytes: ArraySlice<UInt8>
    /// The start of the next record, in bytes after the header.
    private(set) var position = 0
    /// The sequence number that the next record must have.
    private(set) var sequence: UInt64

    init(_ bytes: ArraySlice<UInt8>, firstSequence: UInt64) {
        self.bytes = bytes
        sequence = firstSequence
    }

    /// - Returns: nil after the last record.
    /// - Throws: `journal`, with the reason why the record is damaged.
    mutating func next() throws(ArenaError) -> JournalRecord? {
        if bytes.isEmpty { return nil }
        let (record, length) = try decode()
        bytes = bytes.dropFirst(length)
        position += length
        sequence &+= 1
        return record
    }

    private func decode() throws(ArenaError) -> (JournalRecord, length: Int) {
        var reader = ByteReader(bytes, "journal")
        let length = Int(try reader.take(UInt32.self))
        guard length >= JournalFormat.recordHeaderLength, length % 8 == 0, length <= bytes.count else {
            throw refuse("length \(length)")
        }
        guard try reader.take(UInt32.self) == CRC32C.of(bytes.prefix(length).dropFirst(8)) else {
            throw refuse("wrong checksum")
        }
        let found = try reader.take(UInt64.self)
        guard found == sequence else { throw refuse("has the sequence number \(found)") }
        let type = try reader.take(UInt16.self)
        _ = try reader.take(UInt16.self)
        let payload = Int(try reader.take(UInt32.self))
        guard payload <= length - JournalFormat.recordHeaderLength else { throw refuse("payload of \(payload) bytes") }
        return (JournalRecord(type: type, payload: [UInt8](try reader.take(count: payload))), length)
    }

    private func refuse(_ why: String) -> ArenaError {
        ArenaError(.journal, "record \(sequence) at byte \(position): \(why)")
    }
}
