import Glibc

/// Numbers as text, in no language's way but with a comma after thousands.
enum Decimal {
    /// With so many decimals. What has more digits than a double knows is written as Swift writes it.
    static func fixed(_ value: Double, decimals: Int) -> String {
        let scaled = (abs(value) * pow(10, Double(decimals))).rounded()
        guard scaled < 1e15 else { return "\(value)" }
        let sign = value < 0 && scaled > 0 ? "−" : ""
        let digits = String(Int(scaled))
        if decimals == 0 { return sign + digits }
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        return "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
    }

    /// With three significant digits.
    static func significant(_ value: Double, keepingZeros: Bool) -> String {
        let rounded = rounded(value, digits: 3)
        let magnitude = rounded == 0 ? 0 : Int(log10(abs(rounded)).rounded(.down))
        var text = fixed(rounded, decimals: min(6, max(0, 2 - magnitude)))
        guard !keepingZeros, text.contains(".") else { return text }
        while text.last == "0" { text.removeLast() }
        if text.last == "." { text.removeLast() }
        return text
    }

    /// Whole thousands apart; small ones with their digits.
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

    /// To so many significant digits.
    static func rounded(_ value: Double, digits: Int) -> Double {
        guard value != 0, value.isFinite, abs(value) < 1e15 else { return value }
        let places = Double(digits) - 1 - log10(abs(value)).rounded(.down)
        // By division with whole powers of ten, which are exact, where there is a choice.
        return places > 0
            ? (value * pow(10, places)).rounded() / pow(10, places)
            : (value / pow(10, -places)).rounded() * pow(10, -places)
    }
}
