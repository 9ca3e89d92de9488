// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover

/// The kernel's packed records (Linux 7.0), byte for byte. Offsets count from the arena's start.
///
/// | record | bytes | compatible string to raise when it changes |
/// |---|---|---|
/// | ``SessionRecord`` | 80 | `luo-session-v1` |
/// | ``FileRecord`` | 64 | `luo-session-v1` |
/// | ``FLBRecord`` | 64 | `luo-flb-v1` |
protocol PackedRecord {
    static var length: Int { get }
    func encode(into writer: inout ByteWriter)
    init(_ reader: inout ByteReader) throws(ArenaError)
}

/// `char name[64], u64 files, u64 count`
struct SessionRecord: PackedRecord, Equatable {
    static let length = 80

    var name: SessionName
    var files: UInt64
    var count: UInt64

    func encode(into writer: inout ByteWriter) {
        writer.put(name, fixed: 64)
        writer.put(files)
        writer.put(count)
    }
}

extension SessionRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        name = try reader.takeName(fixed: 64)
        files = try reader.take()
        count = try reader.take()
    }
}

/// `char compatible[48], u64 data, u64 token`
struct FileRecord: PackedRecord, Equatable {
    static let length = 64

    var compatible: String
    var data: UInt64
    var token: UInt64

    func encode(into writer: inout ByteWriter) {
        writer.put(compatible, fixed: 48)
        writer.put(data)
        writer.put(token)
    }
}

extension FileRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        compatible = try reader.takeString(fixed: 48)
        data = try reader.take()
        token = try reader.take()
    }
}

/// `char name[48], u64 data, u64 count`
struct FLBRecord: PackedRecord, Equatable {
    static let length = 64

    var name: String
    var data: UInt64
    var count: UInt64

    func encode(into writer: inout ByteWriter) {
        writer.put(name, fixed: 48)
        writer.put(data)
        writer.put(count)
    }
}

extension FLBRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        name = try reader.takeString(fixed: 48)
        data = try reader.take()
        count = try reader.take()
    }
}
