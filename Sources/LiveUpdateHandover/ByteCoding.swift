// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// Encodes a packed record, in native byte order.
///
/// The generic methods of the writer and the reader are inlinable, because other modules encode and decode records
/// number by number. Without specialization these calls would be most of the cost of an update.
public struct ByteWriter: Sendable {
    /// The written bytes, and zeros for the next ones after them. So a number takes one store, not an append.
    @usableFromInline var room: [UInt8]
    /// The number of bytes that were written so far.
    public private(set) var count = 0

    /// The bytes that were written so far.
    public var bytes: [UInt8] { count == room.count ? room : [UInt8](room[..<count]) }

    /// Makes an empty writer.
    ///
    /// - Parameter capacity: the bytes that fit at first, ideally as many as will be written.
    public init(capacity: Int = 0) { room = [UInt8](repeating: 0, count: capacity) }

    /// Appends an integer.
    @inlinable
    public mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        let offset = advance(MemoryLayout<Value>.size)
        // SAFETY: there is room from the offset on.
        unsafe room.withUnsafeMutableBytes { unsafe $0.storeBytes(of: value, toByteOffset: offset, as: Value.self) }
    }

    /// Makes room for more bytes, which are 0, and returns their offset.
    @usableFromInline
    mutating func advance(_ length: Int) -> Int {
        let offset = count
        count += length
        if count > room.count { room += repeatElement(0, count: max(count - room.count, room.count)) }
        return offset
    }

    /// Appends bytes as they are.
    public mutating func put(_ more: [UInt8]) {
        // SAFETY: the buffer is only read, within the closure.
        unsafe more.withUnsafeBytes { unsafe put($0) }
    }

    @unsafe
    private mutating func put(_ more: UnsafeRawBufferPointer) {
        let offset = advance(more.count)
        // SAFETY: slicing checks that there is room.
        unsafe room.withUnsafeMutableBytes { unsafe $0[offset..<offset + more.count].copyBytes(from: more) }
    }

    /// Appends a string in a field of fixed length. The rest of the field, at least one byte, is zero.
    public mutating func put(_ text: String, fixed length: Int) {
        put(text, atMost: length - 1)
        pad(length - min(text.utf8.count, length - 1))
    }

    /// Appends the length of a string, then the string.
    public mutating func put(counted text: String) {
        put(UInt16(text.utf8.count))
        put(text, atMost: text.utf8.count)
    }

    private mutating func put(_ text: String, atMost most: Int) {
        var text = text
        // SAFETY: the buffer is only read, within the closure.
        text.withUTF8 { utf8 in
            unsafe put(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(utf8).prefix(most)))
        }
    }

    /// The CRC32C of the written bytes from `start` on.
    func checksum(from start: Int) -> UInt32 { CRC32C.of(room[start..<count]) }

    /// Overwrites bytes that were written before.
    mutating func put(_ value: UInt32, at offset: Int) {
        precondition(offset >= 0 && offset + 4 <= count)
        // SAFETY: the precondition ensures that there are four bytes.
        unsafe room.withUnsafeMutableBytes { unsafe $0.storeBytes(of: value, toByteOffset: offset, as: UInt32.self) }
    }

    /// Appends zeros.
    public mutating func pad(_ count: Int) { _ = advance(count) }
}

/// Decodes a packed record. Reading past the end is an error, and never a trap.
public struct ByteReader: Sendable {
    @usableFromInline let bytes: ArraySlice<UInt8>
    @usableFromInline var position: Int
    private let what: String

    /// Reads `bytes`. Errors call them `what`.
    public init(_ bytes: [UInt8], _ what: String) { self.init(bytes[...], what) }

    /// Reads `bytes`. Errors call them `what`.
    public init(_ bytes: ArraySlice<UInt8>, _ what: String) {
        self.bytes = bytes
        position = bytes.startIndex
        self.what = what
    }

    /// Whether everything was read.
    public var isAtEnd: Bool { position == bytes.endIndex }

    /// Reads the next integer.
    ///
    /// - Throws: `record` when fewer bytes are left.
    @inlinable
    public mutating func take<Value: FixedWidthInteger>(_: Value.Type = Value.self) throws(ArenaError) -> Value {
        let size = MemoryLayout<Value>.size
        guard size <= bytes.endIndex - position else { throw ended }
        let offset = position - bytes.startIndex
        position += size
        // SAFETY: there are as many bytes as the integer has, and any pattern is a value.
        return unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: Value.self) }
    }

    @usableFromInline
    var ended: ArenaError { ArenaError(.record, "\(what) ends after \(bytes.count) bytes") }

    /// Reads the next bytes.
    ///
    /// - Throws: `record` when fewer bytes are left.
    public mutating func take(count: Int) throws(ArenaError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.endIndex - position else { throw ended }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// Reads a string in a field of fixed length.
    ///
    /// - Throws: `record` when the field has no NUL, or the string is not UTF-8.
    public mutating func takeString(fixed length: Int) throws(ArenaError) -> String {
        try string(try takeBytes(untilNULIn: length))
    }

    /// Reads a field of fixed length, and returns the bytes before its NUL.
    ///
    /// - Throws: `record` when the field has no NUL.
    public mutating func takeBytes(untilNULIn length: Int) throws(ArenaError) -> ArraySlice<UInt8> {
        let field = try take(count: length)
        guard let end = field.firstIndex(of: 0) else {
            throw ArenaError(.record, "\(what): a string without its NUL")
        }
        return field[..<end]
    }

    /// Reads the length of a string, then the string.
    ///
    /// - Throws: `record` when fewer bytes are left, or the string is not UTF-8.
    public mutating func takeCountedString() throws(ArenaError) -> String {
        let count = try take(UInt16.self)
        return try string(try take(count: Int(count)))
    }

    private func string(_ bytes: ArraySlice<UInt8>) throws(ArenaError) -> String {
        guard let utf8 = try? UTF8Span(validating: bytes.span) else {
            throw ArenaError(.record, "\(what): a string that is not UTF-8")
        }
        return String(copying: utf8)
    }
}
