// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The formats in which a kernel hands over memory, files and sessions to the next kernel: `kho-v4`, `luo-v5`,
/// `memfd-v2`. The image of a kernel has their names in it. A kernel that gets another version loses everything, or
/// does not boot.
package struct KernelFormats: Equatable, Sendable {
    /// The names, without an order.
    package private(set) var names: Set<String>

    /// Names formats.
    package init(_ names: Set<String> = []) { self.names = names }

    /// The formats of a family, such as `luo`. A kernel without the family has none.
    package func of(_ family: String) -> Set<String> { names.filter { $0.hasPrefix("\(family)-v") } }

    /// The families.
    package static let families = ["kho", "luo", "memfd"]

    /// Finds the names in an unpacked kernel that comes in pieces.
    struct Scanner {
        private(set) var formats = KernelFormats()
        /// The last bytes of the pieces before: a name can be in two pieces.
        private var carried: [UInt8] = []

        private static let longest = 32

        mutating func scan(_ piece: ArraySlice<UInt8>) {
            let bytes = carried + piece
            // SAFETY: the search stays inside of the buffer.
            unsafe bytes.withUnsafeBufferPointer { buffer in
                var offset = 0
                while let base = buffer.baseAddress, offset < buffer.count,
                    let found = unsafe memchr(base + offset, CInt(UInt8(ascii: "-")), buffer.count - offset)
                {
                    let hyphen = unsafe UnsafeRawPointer(found) - UnsafeRawPointer(base)
                    if let name = Self.name(in: bytes, around: hyphen) { formats.names.insert(name) }
                    offset = hyphen + 1
                }
            }
            carried = bytes.suffix(2 * Self.longest)
        }

        /// The name with this hyphen. It ends with a NUL, and no letter, digit or hyphen is before it.
        private static func name(in bytes: [UInt8], around hyphen: Int) -> String? {
            guard hyphen + 3 < bytes.count, bytes[hyphen + 1] == UInt8(ascii: "v"), isDigit(bytes[hyphen + 2]),
                let family = families.first(where: { bytes[..<hyphen].suffix($0.utf8.count).elementsEqual($0.utf8) })
            else { return nil }
            let start = hyphen - family.utf8.count
            if start > 0, isPartOfName(bytes[start - 1]) { return nil }
            let digits = bytes[(hyphen + 2)...].prefix(longest).prefix(while: isDigit)
            guard digits.endIndex < bytes.count, bytes[digits.endIndex] == 0 else { return nil }
            return String(decoding: bytes[start..<digits.endIndex], as: UTF8.self)
        }

        private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

        private static func isPartOfName(_ byte: UInt8) -> Bool {
            isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: "_")
        }
    }
}
