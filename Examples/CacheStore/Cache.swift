// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdateCore

/// Keys and values in a memory file. Its layout is this program's own: `u64 magic, u64 bytes in use`. From byte 16 on
/// there are the entries, each `u32 length of the key, u32 length of the value`, the key and the value. The last entry
/// of a key is the valid one.
///
/// The index is not in the file. It is made again from the entries.
package final class Cache {
    private static let magic: UInt64 = 0x3130_4548_4341_4343  // "CCACHE01"
    private static let headerLength = 16

    private let mapping: Mapping
    private var values: [String: Range<Int>] = [:]

    package var count: Int { values.count }

    /// Begins in a file of zeros, or continues with the entries of the file.
    package init(in file: FileDescriptor) throws {
        mapping = try Mapping(of: file, length: try FileStatus(of: file).size, .shared(writable: true))
        if word(at: 0) == 0 { begin() }
        guard word(at: 0) == Self.magic else { throw Fault.format }
        try index()
    }

    package enum Fault: Error, CustomStringConvertible {
        case format, full

        package var description: String { self == .full ? "the cache is full" : "the data is not of this program" }
    }

    private func begin() {
        store(UInt64(Self.headerLength), at: 8)
        store(Self.magic, at: 0)
    }

    /// Makes the index. Another image may have written the file, so each offset is checked.
    private func index() throws {
        let end = Int(clamping: word(at: 8))
        guard end <= size else { throw Fault.format }
        var at = Self.headerLength
        while at < end {
            guard at + 8 <= end else { throw Fault.format }
            let (key, value) = (Int(half(at: at)), Int(half(at: at + 4)))
            guard at + 8 + key + value <= end else { throw Fault.format }
            values[text(at + 8..<at + 8 + key)] = at + 8 + key..<at + 8 + key + value
            at += 8 + key + value
        }
    }

    package func value(of key: String) -> String? { values[key].map(text) }

    /// Writes the entry first, and then the number that makes it valid. A process that dies in between has stored
    /// nothing.
    package func set(_ key: String, _ value: String) throws {
        var writer = ByteWriter()
        writer.put(UInt32(key.utf8.count))
        writer.put(UInt32(value.utf8.count))
        writer.put(Array(key.utf8) + Array(value.utf8))
        let at = Int(word(at: 8))
        let end = at + writer.bytes.count
        guard end <= size else { throw Fault.full }
        // SAFETY: the range is inside of the mapping.
        unsafe UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[at..<end]).copyBytes(from: writer.bytes)
        store(UInt64(end), at: 8)
        values[key] = end - value.utf8.count..<end
    }

    // MARK: The bytes

    private var size: Int { unsafe mapping.bytes.count }

    // SAFETY of the four methods below: callers check offsets, and buffers check them again in debug builds.
    private func word(at offset: Int) -> UInt64 {
        unsafe mapping.bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }
    private func half(at offset: Int) -> UInt32 {
        unsafe mapping.bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
    }
    private func store(_ word: UInt64, at offset: Int) {
        unsafe mapping.bytes.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
    }
    private func text(_ range: Range<Int>) -> String { unsafe String(decoding: mapping.bytes[range], as: UTF8.self) }
}
