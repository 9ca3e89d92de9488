// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform

/// The records for state that has no place in the kernel's format: `luo-slot-v1`, or `luo-slot-v2` when a file has
/// marks. An image that knows only `luo-slot-v1` therefore reads every tree without marks.
///
/// | part | layout |
/// |---|---|
/// | ``SlotHeader`` | 56 bytes: see below |
/// | ``FileSlotRecord`` | one for each file, session by session |
/// | ``FLBSlotRecord`` | one for each FLB, then one for each discarded FLB |
/// | ``FLBRecord`` | one for each discarded FLB |
/// | ``ReasonRecord`` | `luo-slot-v2`: one for each file that was left out, in the order of the files |
/// | ``RangeRecord`` | the ranges that the records above point to |
///
/// The header is u64 files, u64 FLBs, u64 discarded FLBs, u64 start and u64 end of the freeze (CLOCK_MONOTONIC, ns; for
/// display only), u64 offset and u64 length of the room for the next journal.
struct SlotHeader: PackedRecord, Equatable {
    static let length = 56

    var files: UInt64
    var flbs: UInt64
    var discarded: UInt64
    var freezeStart: UInt64
    var freezeEnd: UInt64
    var journalRoom: Extent

    func encode(into writer: inout ByteWriter) {
        writer.put(files)
        writer.put(flbs)
        writer.put(discarded)
        writer.put(freezeStart)
        writer.put(freezeEnd)
        writer.put(journalRoom.offset)
        writer.put(journalRoom.length)
    }
}

extension SlotHeader {
    /// The offset of the times of the freeze in the header, in bytes.
    static let freezeOffset = 24

    /// The bytes of the times in the header.
    static func bytes(of freeze: FreezeTime) -> [UInt8] {
        var writer = ByteWriter(capacity: 16)
        writer.put(freeze.start)
        writer.put(freeze.end)
        return writer.bytes
    }

    init(_ reader: inout ByteReader) throws(ArenaError) {
        files = try reader.take()
        flbs = try reader.take()
        discarded = try reader.take()
        freezeStart = try reader.take()
        freezeEnd = try reader.take()
        journalRoom = Extent(offset: try reader.take(), length: try reader.take())
    }
}

/// `s64 slot, u64 device, u64 inode, u64 offset and u64 number of its ranges, u8 number of FLBs, u8 flbs[63], u8 marks,
/// u8 zero, u16 errno, u32 zero`
///
/// The FLBs that the file is counted on are indexes into the `luo-flb` records, in link order: at most 63 can be
/// registered. In `luo-slot-v1` all bytes behind the indexes are zero. The marks are ``FileMarks``. The errno is set
/// only for a file that was left out.
struct FileSlotRecord: PackedRecord, Equatable {
    static let length = 112

    var slot: Int64
    var identity: FileIdentity
    var links: [UInt8]
    var ranges: UInt64
    var rangeCount: UInt64
    var marks = FileMarks()
    /// The errno of a file that was left out; 0 for all other files.
    var errno: UInt16 = 0

    func encode(into writer: inout ByteWriter) {
        writer.put(slot)
        writer.put(identity.device)
        writer.put(identity.inode)
        writer.put(ranges)
        writer.put(rangeCount)
        writer.put(UInt8(links.count))
        writer.put(links)
        writer.pad(63 - links.count)
        writer.put(marks.rawValue)
        writer.pad(1)
        writer.put(errno)
        writer.pad(4)
    }
}

extension FileSlotRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        slot = try reader.take()
        identity = FileIdentity(device: try reader.take(), inode: try reader.take())
        ranges = try reader.take()
        rangeCount = try reader.take()
        let count = Int(try reader.take(UInt8.self))
        let field = try reader.take(count: 63)
        guard count <= 63 else { throw ArenaError(.record, "a file that counts on \(count) FLBs") }
        links = [UInt8](field.prefix(count))
        marks = FileMarks(rawValue: try reader.take())
        _ = try reader.take(UInt8.self)
        errno = try reader.take()
        _ = try reader.take(UInt32.self)
    }
}

/// `char reason[512]`: UTF-8, 1 to 511 bytes and a NUL.
struct ReasonRecord: PackedRecord, Equatable {
    static let length = LeftOut.longestReason + 1

    var reason: String

    func encode(into writer: inout ByteWriter) { writer.put(reason, fixed: Self.length) }
}

extension ReasonRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        reason = try reader.takeString(fixed: Self.length)
        guard LeftOut.isValid(reason) else { throw ArenaError(.record, "a file that was left out without a reason") }
    }
}

/// `u64 offset and u64 number of its ranges`
struct FLBSlotRecord: PackedRecord, Equatable {
    static let length = 16

    var ranges: UInt64
    var rangeCount: UInt64

    func encode(into writer: inout ByteWriter) {
        writer.put(ranges)
        writer.put(rangeCount)
    }
}

extension FLBSlotRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        ranges = try reader.take()
        rangeCount = try reader.take()
    }
}

/// `u32 user, u8 detached, 3 zeros`: `luo-holder-v1` has one for each session, in the order of the sessions.
struct HolderRecord: PackedRecord, Equatable {
    static let length = 8

    var user: SessionUser
    var isDetached: Bool

    func encode(into writer: inout ByteWriter) {
        writer.put(user)
        writer.put(isDetached ? UInt8(1) : 0)
        writer.pad(3)
    }
}

extension HolderRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        user = try reader.take()
        isDetached = try reader.take(UInt8.self) == 1
        _ = try reader.take(count: 3)
    }
}

/// `u64 offset` of the checksums of a file, 0 without them: `luo-attest-v1` has one for each file, in the order of the
/// files. The checksums are in one of the file's ranges.
struct AttestationRecord: PackedRecord, Equatable {
    static let length = 8

    var offset: UInt64

    func encode(into writer: inout ByteWriter) { writer.put(offset) }
}

extension AttestationRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) { offset = try reader.take() }
}

/// `u64 offset, u64 length, u32 CRC32C, u32 zero`
struct RangeRecord: PackedRecord, Equatable {
    static let length = 24

    var stored: StoredRange

    init(_ stored: StoredRange) { self.stored = stored }

    func encode(into writer: inout ByteWriter) {
        writer.put(stored.range.offset)
        writer.put(stored.range.length)
        writer.put(stored.checksum)
        writer.put(UInt32(0))
    }
}

extension RangeRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        let range = Extent(offset: try reader.take(), length: try reader.take())
        stored = StoredRange(range: range, checksum: try reader.take())
        _ = try reader.take(UInt32.self)
    }
}
