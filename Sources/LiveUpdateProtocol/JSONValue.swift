// SPDX-License-Identifier: Apache-2.0

/// A JSON value (RFC 8259), for clients that read the status of luod. This reader does not use Foundation, because
/// programs that use the library do not link Foundation.
package enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    /// The text of a number.
    case number(String)
    case string(String)
    case array([JSONValue])
    /// The members of an object. If several members have the same name, the last one counts.
    case object([String: JSONValue])

    /// Reads a text that is one JSON value, with white space around it.
    ///
    /// - Returns: nil for other bytes, and for arrays and objects that are nested more deeply than 64.
    package init?(_ text: some Collection<UInt8>) {
        var reader = JSONReader(text)
        guard let value = reader.value(depth: 0), reader.isAtEnd else { return nil }
        self = value
    }

    /// A member of an object; nil when this is no object, or has no such member.
    package subscript(_ name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    /// The text of a string; nil for another value.
    package var string: String? { if case .string(let text) = self { text } else { nil } }

    /// The value of true or false; nil for another value.
    package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

    /// The elements of an array; nil for another value.
    package var array: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }

    /// An integer; nil for another value, for a number with a fraction or an exponent, and for a number that does not
    /// fit.
    package func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? {
        if case .number(let digits) = self { Value(digits) } else { nil }
    }
}

/// Reads JSON from bytes. Each function returns nil for bytes that are not JSON.
private struct JSONReader {
    private let bytes: [UInt8]
    private var place = 0
    private static let deepest = 64

    init(_ bytes: some Collection<UInt8>) { self.bytes = Array(bytes) }

    /// Whether only white space is left.
    var isAtEnd: Bool {
        mutating get {
            skipSpace()
            return place == bytes.count
        }
    }

    mutating func value(depth: Int) -> JSONValue? {
        skipSpace()
        guard depth <= Self.deepest, let first = next else { return nil }
        switch first {
        case UInt8(ascii: "{"): return object(depth)
        case UInt8(ascii: "["): return array(depth)
        case UInt8(ascii: "\""): return string().map { .string($0) }
        case UInt8(ascii: "t"): return takes("true") ? .bool(true) : nil
        case UInt8(ascii: "f"): return takes("false") ? .bool(false) : nil
        case UInt8(ascii: "n"): return takes("null") ? .null : nil
        default: return number()
        }
    }

    private mutating func object(_ depth: Int) -> JSONValue? {
        var members: [String: JSONValue] = [:]
        place += 1
        skipSpace()
        if takes("}") { return .object(members) }
        repeat {
            skipSpace()
            guard let name = string() else { return nil }
            skipSpace()
            guard takes(":"), let value = value(depth: depth + 1) else { return nil }
            members[name] = value
            skipSpace()
        } while takes(",")
        return takes("}") ? .object(members) : nil
    }

    private mutating func array(_ depth: Int) -> JSONValue? {
        var elements: [JSONValue] = []
        place += 1
        skipSpace()
        if takes("]") { return .array(elements) }
        repeat {
            guard let element = value(depth: depth + 1) else { return nil }
            elements.append(element)
            skipSpace()
        } while takes(",")
        return takes("]") ? .array(elements) : nil
    }

    private mutating func number() -> JSONValue? {
        let start = place
        _ = takes("-")
        if !takes("0") { guard takeDigits() else { return nil } }
        if takes(".") { guard takeDigits() else { return nil } }
        if takes("e") || takes("E") {
            _ = takes("+") || takes("-")
            guard takeDigits() else { return nil }
        }
        return .number(text(from: start))
    }

    private mutating func takeDigits() -> Bool {
        let start = place
        while let digit = next, UInt8(ascii: "0")...UInt8(ascii: "9") ~= digit { place += 1 }
        return place > start
    }

    private mutating func string() -> String? {
        guard takes("\"") else { return nil }
        var string = ""
        var start = place
        while let byte = next, byte >= 0x20 {
            if byte == UInt8(ascii: "\"") {
                string += text(from: start)
                place += 1
                return string
            }
            if byte == UInt8(ascii: "\\") {
                string += text(from: start)
                place += 1
                guard let character = escaped() else { return nil }
                string.unicodeScalars.append(character)
                start = place
            } else {
                place += 1
            }
        }
        return nil
    }

    /// The character of an escape, behind its backslash.
    private mutating func escaped() -> Unicode.Scalar? {
        guard let byte = next else { return nil }
        place += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return codePoint()
        default: return nil
        }
    }

    /// The character of one `\uXXXX`, or of two that are a surrogate pair.
    private mutating func codePoint() -> Unicode.Scalar? {
        guard let first = hexadecimal() else { return nil }
        guard UTF16.isLeadSurrogate(first) else { return Unicode.Scalar(first) }
        guard takes("\\u"), let second = hexadecimal(), UTF16.isTrailSurrogate(second) else { return nil }
        return Unicode.Scalar(0x10000 + ((UInt32(first) & 0x3FF) << 10) + (UInt32(second) & 0x3FF))
    }

    private mutating func hexadecimal() -> UInt16? {
        // The initializer of an integer also takes a sign.
        guard place + 4 <= bytes.count, ![UInt8(ascii: "+"), UInt8(ascii: "-")].contains(bytes[place]) else {
            return nil
        }
        defer { place += 4 }
        return UInt16(String(decoding: bytes[place..<place + 4], as: UTF8.self), radix: 16)
    }

    // MARK: Bytes

    private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

    private func text(from start: Int) -> String { String(decoding: bytes[start..<place], as: UTF8.self) }

    /// Takes these characters if they come next.
    private mutating func takes(_ characters: StaticString) -> Bool {
        let count = characters.utf8CodeUnitCount
        // SAFETY: a literal has this many bytes, and lives as long as the program.
        let expected = unsafe UnsafeBufferPointer(start: characters.utf8Start, count: count)
        guard unsafe bytes[place...].starts(with: expected) else { return false }
        place += count
        return true
    }

    private mutating func skipSpace() {
        while let byte = next, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { place += 1 }
    }
}
