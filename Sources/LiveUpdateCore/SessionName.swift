// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover

/// The name of a session: 1 to 63 bytes, none of them 0, as in the kernel's interface. The bytes need not be UTF-8. Two
/// names are equal if their bytes are equal. Unicode equivalence does not count.
///
/// A value can have any bytes. The call that creates a session refuses an invalid name.
public struct SessionName: Sendable {
    /// The bytes as in `name[64]`, without the NUL.
    public let bytes: [UInt8]

    /// Makes the name that has these bytes.
    public init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    /// Makes the name that has this text, in UTF-8.
    public init(_ text: String) { bytes = Array(text.utf8) }

    /// Whether this is a valid name: 1 to 63 bytes, none of them 0.
    public var isValid: Bool { 1...63 ~= bytes.count && !bytes.contains(0) }
}

extension SessionName: Hashable {
    public func hash(into hasher: inout Hasher) {
        // SAFETY: the hasher reads the bytes within the closure. Hashing them one by one takes ten times as long.
        unsafe bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }
}

extension SessionName: ExpressibleByStringInterpolation {
    public init(stringLiteral text: String) { self.init(text) }
}

// MARK: As text

extension SessionName: CustomStringConvertible {
    /// Text for people and JSON. ``init(described:)`` makes the same name from this text. A byte that is not UTF-8, or
    /// that would control a terminal, is written as `\xNN`, and so is a backslash before an x.
    public var description: String {
        if bytes.allSatisfy({ 0x20..<0x7f ~= $0 && $0 != UInt8(ascii: "\\") }) {
            return String(decoding: bytes, as: UTF8.self)
        }
        var text = ""
        var place = bytes.startIndex
        var rest = bytes.makeIterator()
        var parser = UTF8.ForwardParser()
        while true {
            switch parser.parseScalar(from: &rest) {
            case .emptyInput: return text
            case .valid(let encoded):
                let end = place + encoded.count
                let scalar = UTF8.decode(encoded)
                let looksEscaped = scalar == "\\" && end < bytes.endIndex && bytes[end] == UInt8(ascii: "x")
                if looksEscaped || !scalar.isPrintable {
                    text += Self.escaped(bytes[place..<end])
                } else {
                    text.unicodeScalars.append(scalar)
                }
                place = end
            case .error(let length):
                text += Self.escaped(bytes[place..<place + length])
                place += length
            }
        }
    }

    private static func escaped(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// The name from its description: each `\xNN` in the text is a byte.
    public init(described text: String) {
        var bytes: [UInt8] = []
        var rest = Substring(text).utf8
        while let first = rest.popFirst() {
            if first == UInt8(ascii: "\\"), let byte = Self.byte(rest.prefix(3)) {
                bytes.append(byte)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(first)
            }
        }
        self.bytes = bytes
    }

    /// The byte of `xNN`.
    private static func byte(_ text: Substring.UTF8View) -> UInt8? {
        let digits = text.dropFirst().compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard text.first == UInt8(ascii: "x"), digits.count == 2 else { return nil }
        return UInt8(digits[0] << 4 | digits[1])
    }
}

extension Unicode.Scalar {
    /// Whether a terminal shows the character and does not obey it.
    package var isPrintable: Bool {
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
        default: true
        }
    }
}

// MARK: In records

extension ByteWriter {
    /// Appends a name to a field of fixed length, which has room for its NUL.
    mutating func put(_ name: SessionName, fixed length: Int) {
        precondition(name.bytes.count < length)
        put(name.bytes)
        pad(length - name.bytes.count)
    }

    /// Appends the length of a name and the name.
    mutating func put(counted name: SessionName) {
        put(UInt16(name.bytes.count))
        put(name.bytes)
    }
}

extension ByteReader {
    /// Reads a name in a field of fixed length.
    ///
    /// - Throws: `record` for a field without a NUL.
    mutating func takeName(fixed length: Int) throws(ArenaError) -> SessionName {
        SessionName(bytes: try takeBytes(untilNULIn: length))
    }

    /// Reads the length of a name and the name.
    ///
    /// - Throws: `record` when the bytes end before the name does.
    mutating func takeCountedName() throws(ArenaError) -> SessionName {
        let count = try take(UInt16.self)
        return SessionName(bytes: try take(count: Int(count)))
    }
}
