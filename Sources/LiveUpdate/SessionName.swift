import Handover

/// What a session is called: as in the kernel's interface bytes, 1 to 63 of them and none 0, which need not be UTF-8. Two are
/// the same when their bytes are, whatever Unicode takes for equivalent.
///
/// Any bytes can be put into one: who makes a session refuses what is no name.
public struct SessionName: Sendable {
    /// As they are in `name[64]`, without the NUL.
    public let bytes: [UInt8]

    /// The name of these bytes.
    public init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    /// The name that is this text, in UTF-8.
    public init(_ text: String) { bytes = Array(text.utf8) }

    /// Whether it can be one: 1 to 63 bytes, none of them 0.
    public var isValid: Bool { 1...63 ~= bytes.count && !bytes.contains(0) }
}

extension SessionName: Hashable {
    public func hash(into hasher: inout Hasher) {
        // SAFETY: the hasher reads the bytes within the closure. One by one they take ten times as long.
        unsafe bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }
}

extension SessionName: ExpressibleByStringInterpolation {
    public init(stringLiteral text: String) { self.init(text) }
}

// MARK: As text

extension SessionName: CustomStringConvertible {
    /// Text for people and JSON, from which ``init(described:)`` makes the same name: what is not UTF-8, or would do something
    /// to a terminal, is there as `\xNN`, each a byte, and so is a backslash before an x.
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

    /// The name that is described by this text: each `\xNN` in it is a byte.
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
    /// Whether a terminal shows it, and does not obey it.
    public var isPrintable: Bool {
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

    /// Appends a name behind its length.
    mutating func put(counted name: SessionName) {
        put(UInt16(name.bytes.count))
        put(name.bytes)
    }
}

extension ByteReader {
    /// A name in a field of fixed length.
    ///
    /// - Throws: `record`, without a NUL in it.
    mutating func takeName(fixed length: Int) throws(ArenaError) -> SessionName {
        SessionName(bytes: try takeBytes(untilNULIn: length))
    }

    /// A name behind its length.
    ///
    /// - Throws: `record`, when the bytes end before it does.
    mutating func takeCountedName() throws(ArenaError) -> SessionName {
        let count = try take(UInt16.self)
        return SessionName(bytes: try take(count: Int(count)))
    }
}
