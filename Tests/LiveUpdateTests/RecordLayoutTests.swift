// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The bytes of the packed records, compared with the tables of docs/abi.md. The offsets are literals here, and do not
/// come from the sources.
@Suite struct RecordLayoutTests {
    private func encode(_ record: some PackedRecord) -> [UInt8] {
        var writer = ByteWriter()
        record.encode(into: &writer)
        return writer.bytes
    }

    private func decode<Record: PackedRecord>(_: Record.Type, _ bytes: [UInt8]) throws -> Record {
        var reader = ByteReader(bytes, "test")
        let record = try Record(&reader)
        #expect(reader.isAtEnd)
        return record
    }

    private func field(_ text: String, _ length: Int) -> [UInt8] {
        [UInt8](text.utf8) + [UInt8](repeating: 0, count: length - text.utf8.count)
    }

    @Test(
        "session, 80 bytes: char name[64], u64 files, u64 count", arguments: ["s", String(repeating: "n", count: 63)])
    func session(name: String) throws {
        let record = SessionRecord(name: SessionName(name), files: 0x1122_3344_5566_7788, count: 7)
        let bytes = encode(record)
        #expect(bytes.count == 80)
        #expect(bytes == field(name, 64) + nativeBytes(0x1122_3344_5566_7788 as UInt64) + nativeBytes(7 as UInt64))
        #expect(try decode(SessionRecord.self, bytes) == record)
    }

    @Test(
        "file, 64 bytes: char compatible[48], u64 data, u64 token",
        arguments: ["memfd-extents-v1", String(repeating: "c", count: 47)])
    func file(compatible: String) throws {
        let record = FileRecord(compatible: compatible, data: .max, token: 0x0102_0304_0506_0708)
        let bytes = encode(record)
        #expect(bytes.count == 64)
        #expect(
            bytes == field(compatible, 48) + [UInt8](repeating: 0xFF, count: 8) + [8, 7, 6, 5, 4, 3, 2, 1])
        #expect(try decode(FileRecord.self, bytes) == record)
    }

    @Test("FLB, 64 bytes: char name[48], u64 data, u64 count")
    func flb() throws {
        let record = FLBRecord(name: "hugetlb-v1", data: 4096, count: 3)
        let bytes = encode(record)
        #expect(bytes.count == 64)
        #expect(bytes == field("hugetlb-v1", 48) + nativeBytes(4096 as UInt64) + nativeBytes(3 as UInt64))
        #expect(try decode(FLBRecord.self, bytes) == record)
    }

    @Test func namesMustEndInTheirField() throws {
        let bytes = [UInt8](repeating: 65, count: 80)
        #expect(throws: ArenaError.self) { try decode(SessionRecord.self, bytes) }
        #expect(throws: ArenaError.self) { try decode(FileRecord.self, [UInt8](bytes.prefix(64))) }
        #expect(throws: ArenaError.self) { try decode(FLBRecord.self, [UInt8](bytes.prefix(64))) }
    }

    @Test func shortRecordsAreRefused() throws {
        for count in 0..<64 {
            let bytes = [UInt8](repeating: 0, count: count)
            #expect(throws: ArenaError.self) { try decode(SessionRecord.self, bytes) }
            #expect(throws: ArenaError.self) { try decode(FLBRecord.self, bytes) }
            #expect(throws: ArenaError.self) { try decode(FileRecord.self, bytes) }
            #expect(throws: ArenaError.self) { try decode(FileSlotRecord.self, bytes) }
        }
    }

    @Test("Our slot record: descriptor, identity and FLBs of a file, 112 bytes")
    func fileSlot() throws {
        let record = FileSlotRecord(
            slot: -2, identity: FileIdentity(device: 3, inode: 4), links: [9, 0, 62], ranges: 5, rangeCount: 6)
        let bytes = encode(record)
        #expect(bytes.count == 112)
        let words = [UInt64(bitPattern: -2), 3, 4, 5, 6].flatMap { nativeBytes($0) }
        #expect(bytes == words + [3, 9, 0, 62] + [UInt8](repeating: 0, count: 68))
        #expect(try decode(FileSlotRecord.self, bytes) == record)
        var tooMany = bytes
        tooMany[40] = 64
        #expect(throws: ArenaError.self) { try decode(FileSlotRecord.self, tooMany) }
    }

    @Test("Our slot record: after the 63 FLBs the file's marks, a zero byte, the errno, and four zeros")
    func markedFileSlot() throws {
        var record = FileSlotRecord(
            slot: 1, identity: FileIdentity(device: 3, inode: 4), links: [UInt8](0..<63), ranges: 5, rangeCount: 6)
        (record.marks, record.errno) = ([.holdsNothing, .leftOut], 0x0123)
        let bytes = encode(record)
        #expect(bytes.count == 112)
        #expect([UInt8](bytes[40...]) == [63] + [UInt8](0..<63) + [3, 0, 0x23, 0x01, 0, 0, 0, 0])
        #expect(try decode(FileSlotRecord.self, bytes) == record)
    }

    @Test("Our reason record: why a file was left out, 512 bytes with a NUL")
    func reason() throws {
        for reason in ["why", String(repeating: "w", count: 511)] {
            let record = ReasonRecord(reason: reason)
            #expect(encode(record) == field(reason, 512))
            #expect(try decode(ReasonRecord.self, encode(record)) == record)
        }
        for bytes in [field("", 512), [UInt8](repeating: 65, count: 512), [0xFF] + field("", 511), field("why", 511)] {
            #expect(throws: ArenaError.self) { try decode(ReasonRecord.self, bytes) }
        }
    }

    @Test("Our small records: header 56 bytes, ranges of an FLB 16, a range 24")
    func smallOnes() throws {
        let header = SlotHeader(
            files: 1, flbs: 2, discarded: 3, freezeStart: 4, freezeEnd: 5,
            journalRoom: Extent(offset: 6, length: 7))
        #expect(encode(header) == [1, 2, 3, 4, 5, 6, 7].flatMap { nativeBytes($0 as UInt64) })
        #expect(try decode(SlotHeader.self, encode(header)) == header)
        let place = FLBSlotRecord(ranges: 8, rangeCount: 9)
        #expect(encode(place) == [8, 9].flatMap { nativeBytes($0 as UInt64) })
        #expect(try decode(FLBSlotRecord.self, encode(place)) == place)
        let range = RangeRecord(StoredRange(range: Extent(offset: 4096, length: 128), checksum: 0xAABB_CCDD))
        #expect(
            encode(range) == [4096, 128].flatMap { nativeBytes($0 as UInt64) } + [0xDD, 0xCC, 0xBB, 0xAA, 0, 0, 0, 0])
        #expect(try decode(RangeRecord.self, encode(range)) == range)
    }
}
