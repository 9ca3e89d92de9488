// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The kind of a figure, which decides its unit. Figures have three digits, which is more than most are precise to.
enum Quantity: Sendable {
    /// In nanoseconds.
    case time
    /// In bytes.
    case bytes
    case count
    case percent

    /// A measured value with three digits, including zeros.
    func text(_ value: Double) -> String {
        switch self {
        case .time: scaled(value, keepingZeros: true)
        case .bytes, .count, .percent: scaled(value, keepingZeros: false)
        }
    }

    /// A place on an axis, without trailing zeros.
    func tick(_ value: Double) -> String { scaled(value, keepingZeros: false) }

    /// A range of values. The unit is written once if both ends have the same.
    func range(_ lower: Double, _ upper: Double) -> String {
        let (lower, upper) = (text(lower), text(upper))
        let (low, high) = (lower.split(separator: " "), upper.split(separator: " "))
        return low.count == 2 && low.last == high.last ? "\(low[0])–\(upper)" : "\(lower) – \(upper)"
    }

    private func scaled(_ value: Double, keepingZeros: Bool) -> String {
        guard value.isFinite else { return "?" }
        switch self {
        case .count: return Decimal.grouped(value)
        case .percent: return Decimal.significant(value, keepingZeros: false) + " %"
        case .time, .bytes: break
        }
        // The value is rounded before the unit is chosen: 999.7 ns are 1.00 µs, not 1000 ns.
        let unit = units.last { Decimal.rounded(abs(value) / $0.size, digits: 3) >= 1 } ?? units[0]
        let scaled = value / unit.size
        // No measurement is exact to fractions of bytes or, with thousands of them, of seconds.
        if abs(scaled) >= 999.5 { return "\(Decimal.grouped(scaled)) \(unit.name)" }
        return "\(Decimal.significant(scaled, keepingZeros: keepingZeros && unit.size > 1)) \(unit.name)"
    }

    private var units: [(size: Double, name: String)] {
        switch self {
        case .time: [(1, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")]
        case .bytes:
            ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].enumerated().map { (pow(1024, Double($0)), $1) }
        case .count, .percent: [(1, "")]
        }
    }

    /// A ratio of two values.
    static func ratio(_ value: Double) -> String {
        guard value.isFinite else { return "?" }
        return (value < 99.5 ? Decimal.fixed(value, decimals: value < 9.95 ? 2 : 1) : Decimal.grouped(value)) + "×"
    }

    /// A relative change: 1.25 is +25.0 %.
    static func change(_ ratio: Double) -> String {
        guard ratio.isFinite else { return "?" }
        let percent = (ratio - 1) * 100
        return (percent < 0 ? "−" : "+") + Decimal.fixed(abs(percent), decimals: 1) + " %"
    }
}
