// SPDX-License-Identifier: Apache-2.0

/// A number of bytes as the kernel's command line writes it: `512M`, `4G`, `0x100000000`.
package enum MemoryAmount {
    private static let units: [(letter: Character, shift: UInt64)] = [
        ("E", 60), ("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10),
    ]

    /// The shortest text, with the largest unit that leaves a whole number.
    package static func text(_ bytes: UInt64) -> String {
        for (letter, shift) in units where bytes != 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(letter)"
        }
        return "\(bytes)"
    }

    /// Takes a number with an optional unit from the start of a text: decimal, hexadecimal with `0x`, or octal with
    /// `0`. Nil, and nothing is taken, when there is no number or it is too large.
    static func take(from text: inout Substring) -> UInt64? {
        var rest = text
        let radix: UInt64
        if rest.hasPrefix("0x") || rest.hasPrefix("0X") {
            rest = rest.dropFirst(2)
            radix = 16
        } else {
            radix = rest.hasPrefix("0") && rest.count > 1 && rest.dropFirst().first?.isNumber == true ? 8 : 10
        }
        let digits = rest.prefix { $0.isASCII && $0.hexDigitValue.map { UInt64($0) < radix } == true }
        guard let number = UInt64(digits, radix: Int(radix)) else { return nil }
        rest = rest[digits.endIndex...]
        var shift: UInt64 = 0
        if let unit = rest.first?.uppercased(), let known = units.first(where: { String($0.letter) == unit }) {
            shift = known.shift
            rest = rest.dropFirst()
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << shift)
        guard !overflow else { return nil }
        text = rest
        return bytes
    }
}
