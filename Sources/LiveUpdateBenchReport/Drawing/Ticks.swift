// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The marks of axes, at round numbers.
enum Ticks {
    /// Makes sets of marks between two round numbers, the densest set first.
    static func candidates(from lower: Double, to upper: Double, _ spacing: Scale.Spacing) -> [[Double]] {
        switch spacing {
        case .linear: linear(to: upper)
        case .logarithmic:
            narrow(from: lower, to: upper) + [RoundNumber.oneTwoFives(from: lower, to: upper)].filter { $0.count >= 2 }
                + strides.map { powers(of: 10, from: lower, to: upper, every: $0) }.filter { !$0.isEmpty }
        case .doubling: strides.map { powers(of: 2, from: lower, to: upper, every: $0) }.filter { !$0.isEmpty }
        }
    }

    private static let strides = [1, 2, 3, 5, 10, 20, 50, 100]

    private static func powers(of base: Double, from lower: Double, to upper: Double, every stride: Int) -> [Double] {
        let first = exponent(lower, base).rounded(.up)
        let last = exponent(upper, base).rounded(.down)
        guard first <= last else { return [] }
        return Swift.stride(from: first, through: last, by: Double(stride)).map { pow(base, $0) }
    }

    /// The logarithm of a value. It is exact for powers of the base, where the library's may be wrong in the last
    /// digit.
    private static func exponent(_ value: Double, _ base: Double) -> Double {
        let exponent = base == 2 ? log2(value) : log10(value)
        return abs(exponent - exponent.rounded()) < 1e-9 ? exponent.rounded() : exponent
    }

    /// Even steps over less than a factor of ten, where 1, 2 and 5 would give only two or three marks.
    private static func narrow(from lower: Double, to upper: Double) -> [[Double]] {
        guard upper / lower < 9.99 else { return [] }
        return [6.0, 3].map { count in
            let step = RoundNumber.atLeast((upper - lower) / count, .logarithmic)
            let first = (lower / step - 0.0001).rounded(.up)
            return stride(from: first, through: upper / step + 0.0001, by: 1).map { $0 * step }
        }.filter { $0.count >= 3 }
    }

    /// At most ten steps, from zero.
    private static func linear(to upper: Double) -> [[Double]] {
        var step = RoundNumber.atLeast(upper / 10, .logarithmic)
        var candidates: [[Double]] = []
        while step <= upper * 1.0001 {
            candidates.append((0...Int(upper / step + 0.0001)).map { Double($0) * step })
            step = RoundNumber.atLeast(step * 1.5, .logarithmic)
        }
        return candidates
    }
}

/// Numbers that people find round: 1, 2 and 5 times powers of ten, or powers of two.
enum RoundNumber {
    static func atMost(_ value: Double, _ spacing: Scale.Spacing) -> Double {
        spacing == .doubling
            ? pow(2, log2(value).rounded(.down)) : neighbours(value).last { $0 <= value * 1.000_001 } ?? value
    }

    static func atLeast(_ value: Double, _ spacing: Scale.Spacing) -> Double {
        spacing == .doubling
            ? pow(2, log2(value).rounded(.up)) : neighbours(value).first { $0 >= value * 0.999_999 } ?? value
    }

    static func oneTwoFives(from lower: Double, to upper: Double) -> [Double] {
        guard upper / lower < 1e4 else { return [] }
        var values: [Double] = []
        for exponent in Int(log10(lower).rounded(.down))...Int(log10(upper).rounded(.up)) {
            values += [1, 2, 5].map { power(exponent) * $0 }
        }
        return values.filter { $0 >= lower * 0.999_999 && $0 <= upper * 1.000_001 }
    }

    /// The round numbers around a value, in order.
    private static func neighbours(_ value: Double) -> [Double] {
        let exponent = Int(log10(value).rounded(.down))
        return (exponent - 1...exponent + 1).flatMap { exponent in [1, 2, 5].map { power(exponent) * $0 } }
    }

    /// A power of ten. Negative powers are made by division: 1/10 is certainly the nearest number to a tenth, and 10^-1
    /// may not be.
    private static func power(_ exponent: Int) -> Double {
        exponent >= 0 ? pow(10, Double(exponent)) : 1 / pow(10, Double(-exponent))
    }
}
