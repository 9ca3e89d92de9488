/// Puts a packed record together, in native byte order.
public struct ByteWriter: Sendable {
    /// What was written so far.
    public private(set) var bytes: [UInt8] = []

    /// Starts empty.
    public init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    /// Appends an integer.
    public mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        // SAFETY: the bytes of an integer are initialized, and are copied before it goes away.
        unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
    }

    /// Appends bytes as they are.
    public mutating func put(_ more: [UInt8]) { bytes.append(contentsOf: more) }

    /// Appends a string, filled up with zeros to a fixed length, of which the last is always one.
    public mutating func put(_ text: String, fixed length: Int) {
        let utf8 = text.utf8.prefix(length - 1)
        bytes.append(contentsOf: utf8)
        pad(length - utf8.count)
    }

    /// Appends a string behind its length.
    public mutating func put(counted text: String) {
        put(UInt16(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    /// Appends zeros.
    public mutating func pad(_ count: Int) { bytes.append(contentsOf: repeatElement(0, count: count)) }
}

/// Takes a packed record apart. Reading past the end is an error, never a trap.
public struct ByteReader: Sendable {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private let what: String

    /// Reads `bytes`; errors call them `what`.
    public init(_ bytes: some Collection<UInt8>, _ what: String) { self.init(ArraySlice(bytes), what) }

    /// As above, without a copy: of a slice the other would make one, so reading a long array slice by slice would take
    /// the square of its length.
    public init(_ bytes: ArraySlice<UInt8>, _ what: String) {
        self.bytes = bytes
        position = bytes.startIndex
        self.what = what
    }

    /// Whether everything was read.
    public var isAtEnd: Bool { position == bytes.endIndex }

    /// The next integer.
    ///
    /// - Throws: `record`, when the bytes end before it does.
    public mutating func take<Value: FixedWidthInteger>(_: Value.Type = Value.self) throws(ArenaError) -> Value {
        var value: Value = 0
        let slice = try take(count: MemoryLayout<Value>.size)
        // SAFETY: exactly as many bytes as the integer has; any pattern is a value.
        unsafe withUnsafeMutableBytes(of: &value) { unsafe $0.copyBytes(from: slice) }
        return value
    }

    /// The next bytes.
    ///
    /// - Throws: `record`, when there are fewer.
    public mutating func take(count: Int) throws(ArenaError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.endIndex - position else {
            throw ArenaError(.record, "\(what) ends after \(bytes.count) bytes")
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// A string in a field of fixed length.
    ///
    /// - Throws: `record`, without a NUL in it, or when it is not UTF-8.
    public mutating func takeString(fixed length: Int) throws(ArenaError) -> String {
        let field = try take(count: length)
        guard let end = field.firstIndex(of: 0) else {
            throw ArenaError(.record, "\(what): a string without its NUL")
        }
        return try string(field[..<end])
    }

    /// A string behind its length.
    ///
    /// - Throws: `record`, when the bytes end before it does, or it is not UTF-8.
    public mutating func takeCountedString() throws(ArenaError) -> String {
        let count = try take(UInt16.self)
        return try string(try take(count: Int(count)))
    }

    private func string(_ bytes: ArraySlice<UInt8>) throws(ArenaError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ArenaError(.record, "\(what): a string that is not UTF-8")
        }
        return text
    }
}
