// SPDX-License-Identifier: Apache-2.0
extension DeviceTreeReader {
    /// The tree as dts source, which dtc(1) compiles to the same tree again. Numbers of eight bytes are in native
    /// order, so each has its value in a comment after it.
    package var source: String {
        var lines = ["/dts-v1/;", ""]
        var open = 0
        func close(to depth: Int) {
            while open > depth {
                open -= 1
                lines.append(Self.indentation(open) + "};")
            }
        }
        for (node, depth) in nodes {
            close(to: depth)
            lines.append(Self.indentation(depth) + (depth == 0 ? "/" : Self.label(name(of: node))) + " {")
            open = depth + 1
            for (name, value) in properties(of: node) {
                lines.append(Self.indentation(open) + Self.label(name) + Self.text(value))
            }
        }
        close(to: 0)
        return lines.joined(separator: "\n") + "\n"
    }

    /// The indentation of a line, at most 16 tabs, because a tree can be very deep.
    private static func indentation(_ depth: Int) -> String { String(repeating: "\t", count: min(depth, 16)) }

    /// A name that dtc(1) can read and a terminal can show. A damaged tree can have other names.
    private static func label(_ name: String) -> String {
        String(name.prefix(64).map { isLabel($0) ? $0 : "?" })
    }

    private static func isLabel(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || ",._+*#?@-".contains(character))
    }

    private static func text(_ value: [UInt8]) -> String {
        if value.isEmpty { return ";" }
        if let string = quoted(value) { return " = \(string);" }
        if let number = number(value) {
            return " = <0x\(hexadecimal(value[..<4])) 0x\(hexadecimal(value[4...]))>; /* \(number) */"
        }
        return " = [\(value.map { hexadecimal([$0]) }.joined(separator: " "))];"
    }

    /// The value as a quoted string, if it is printable ASCII with a NUL.
    private static func quoted(_ value: [UInt8]) -> String? {
        let text = value.dropLast()
        guard value.last == 0, !text.isEmpty, text.allSatisfy({ (0x20..<0x7F).contains($0) }) else { return nil }
        let escaped = text.flatMap {
            [UInt8(ascii: "\""), UInt8(ascii: "\\")].contains($0) ? [UInt8(ascii: "\\"), $0] : [$0]
        }
        return "\"\(String(decoding: escaped, as: UTF8.self))\""
    }

    private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
