// SPDX-License-Identifier: Apache-2.0

/// A size on a command line: a number of bytes, or a number with a unit.
package struct ByteCount: Equatable, Sendable {
    /// The size in bytes.
    package let bytes: UInt64

    private static let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]

    /// Reads digits, optionally followed by K, M, G or T, which are powers of 1024.
    ///
    /// - Returns: nil for any other text, and for a size that 64 bits cannot hold.
    package init?(_ text: String) {
        let unit = text.last.flatMap { Self.units[$0] }
        let digits = unit == nil ? text[...] : text.dropLast()
        // An integer's initializer also accepts signs.
        guard digits.allSatisfy({ ("0"..."9").contains($0) }), let number = UInt64(digits) else { return nil }
        let (bytes, isTooLarge) = number.multipliedReportingOverflow(by: unit ?? 1)
        guard !isTooLarge else { return nil }
        self.bytes = bytes
    }
}
