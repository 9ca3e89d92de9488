// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// A number of bytes on the command line.
package enum ByteCount {
    @Sendable
    package static func parse(_ text: String) throws -> UInt64 {
        let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
        let unit = text.last.flatMap { units[Character($0.uppercased())] }
        let digits = unit == nil ? Substring(text) : text.dropLast()
        let (bytes, overflow) = (UInt64(digits) ?? 0).multipliedReportingOverflow(by: unit ?? 1)
        guard UInt64(digits) != nil, !overflow else {
            throw ValidationError("\"\(text)\" is no size: write a number with K, M, G or T, as in 256M")
        }
        return bytes
    }

    package static func text(_ bytes: UInt64) -> String {
        for (unit, name) in [(UInt64(1) << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] where bytes >= unit {
            return bytes % unit == 0 ? "\(bytes / unit) \(name)" : "\(fixed(Double(bytes) / Double(unit), 1)) \(name)"
        }
        return "\(bytes) B"
    }
}
