// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Formats numbers as text, independent of the locale, with a comma after thousands.
enum Decimal {
    /// Formats with a fixed number of decimals. Values with more digits than a double stores are written as Swift does.
    static func fixed(_ value: Double, decimals: Int) -> String {
        let scaled = (abs(value) * pow(10, Double(decimals))).rounded()
        guard scaled < 1e15 else { return "\(value)" }
        let sign = value < 0 && scaled > 0 ? "−" : ""
        let digits = String(Int(scaled))
        if decimals == 0 { return sign + digits }
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        return "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
    }

    /// Formats with three significant digits.
    static func significant(_ value: Double, keepingZeros: Bool) -> String {
        let rounded = rounded(value, digits: 3)
        let magnitude = rounded == 0 ? 0 : Int(log10(abs(rounded)).rounded(.down))
        var text = fixed(rounded, decimals: min(6, max(0, 2 - magnitude)))
        guard !keepingZeros, text.contains(".") else { return text }
        while text.last == "0" { text.removeLast() }
        if text.last == "." { text.removeLast() }
        return text
    }

    /// Groups the thousands of large values; small values have three significant digits.
    static func grouped(_ value: Double) -> String {
        guard abs(value) >= 999.5, abs(value) < 1e15 else { return significant(value, keepingZeros: false) }
        var digits = Substring(String(Int(abs(value).rounded())))
        var groups: [Substring] = []
        while digits.count > 3 {
            groups.insert(digits.suffix(3), at: 0)
            digits = digits.dropLast(3)
        }
        return (value < 0 ? "−" : "") + ([digits] + groups).joined(separator: ",")
    }

    /// Rounds to a number of significant digits.
    static func rounded(_ value: Double, digits: Int) -> Double {
        guard value != 0, value.isFinite, abs(value) < 1e15 else { return value }
        let places = Double(digits) - 1 - log10(abs(value)).rounded(.down)
        // Both branches use positive powers of ten, because these are exact.
        return places > 0
            ? (value * pow(10, places)).rounded() / pow(10, places)
            : (value / pow(10, -places)).rounded() * pow(10, -places)
    }
}
