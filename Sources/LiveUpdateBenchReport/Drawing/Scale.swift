// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A mapping from values to places in a drawing.
struct Scale {
    /// The spacing of values.
    enum Spacing: Sendable {
        case linear
        /// All powers of ten are equally far apart. The ends are 1, 2 or 5 times a power of ten.
        case logarithmic
        /// All powers of two are equally far apart. The ends are powers of two.
        case doubling
    }

    let spacing: Spacing
    let quantity: Quantity
    /// The values at both ends, which are round.
    let lower: Double
    let upper: Double
    /// The places of both ends.
    let start: Double
    let end: Double

    /// Whether a value has a place. Zero has no logarithm, and no clock measures values beyond these limits.
    static func canShow(_ value: Double, _ spacing: Spacing) -> Bool {
        value.isFinite && value < 1e24 && (spacing == .linear ? value >= 0 : value > 1e-6)
    }

    /// Makes a scale for the values that need a place. At least one of them can be shown.
    init(_ values: [Double], _ spacing: Spacing, _ quantity: Quantity, from start: Double, to end: Double) {
        self.spacing = spacing
        self.quantity = quantity
        self.start = start
        self.end = end
        (lower, upper) = Self.bounds(values.min() ?? 1, values.max() ?? 1, spacing)
    }

    private static func bounds(_ minimum: Double, _ maximum: Double, _ spacing: Spacing) -> (Double, Double) {
        if spacing == .linear { return (0, maximum > 0 ? RoundNumber.atLeast(maximum, spacing) : 1) }
        let lower = RoundNumber.atMost(minimum, spacing)
        let upper = RoundNumber.atLeast(maximum, spacing)
        // A single value is in the middle.
        return lower < upper ? (lower, upper) : (lower / 2, upper * 2)
    }

    func position(_ value: Double) -> Double {
        let share =
            spacing == .linear
            ? (value - lower) / (upper - lower) : log(max(value, 1e-9) / lower) / log(upper / lower)
        return start + min(1, max(0, share)) * (end - start)
    }

    /// Chooses the values to mark: as many as there is room for. `room` returns the room that a label needs along the
    /// axis, with the distance to the next label.
    func ticks(_ room: (String) -> Double) -> [Double] {
        let candidates = Ticks.candidates(from: lower, to: upper, spacing)
        return candidates.first { fits($0, room) } ?? [lower]
    }

    private func fits(_ values: [Double], _ room: (String) -> Double) -> Bool {
        zip(values, values.dropFirst()).allSatisfy { one, next in
            let needed = (room(quantity.tick(one)) + room(quantity.tick(next))) / 2
            return abs(position(next) - position(one)) >= needed
        }
    }
}
