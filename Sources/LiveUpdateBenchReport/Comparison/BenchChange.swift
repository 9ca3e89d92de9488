// SPDX-License-Identifier: Apache-2.0

/// The difference between two runs of a measurement, or of a count in it.
package struct BenchChange: Encodable, Equatable, Sendable {
    /// The meaning of a change.
    package enum Verdict: String, Encodable, Sendable {
        /// Worse by more than the noise and the tolerance.
        case regression
        /// Better by more than the noise and the tolerance.
        case improvement
        /// Changed by no more than the tolerance.
        case unchanged
        /// Changed by more than the tolerance, but the quartiles of both runs overlap: it may be noise.
        case noise
        /// Not comparable: measured on different machines, and without a floor to compare with.
        case incomparable
    }

    /// The kind of the compared values.
    package enum Basis: String, Encodable, Sendable {
        /// Medians, in nanoseconds.
        case time
        /// The ratios of our median to the floor's median.
        case ratioToFloor = "ratio to floor"
        /// Counts. They have no noise, except for the unrelated work that the kernel's counters include.
        case count
    }

    /// As in ``BenchMeasurement``.
    package let scenario: String
    /// As in ``BenchMeasurement``.
    package let name: String
    /// As in ``BenchMeasurement``.
    package let parameters: [String: UInt64]
    /// The name of the compared count; nil for the time.
    package let counted: String?
    /// The kind of ``old`` and ``new``.
    package let basis: Basis
    /// The value in the older run.
    package let old: Double
    /// The value in the newer run.
    package let new: Double
    /// The ratio of the new value to the old: above 1 is worse. Nil if the old value is zero.
    package let change: Double?
    /// The same ratio of the floor's times, if both runs have one: the share of the change that the machine causes.
    package let floorChange: Double?
    /// Whether this library was measured, so that a regression counts. Changes of other tools are only shown.
    package let isOurs: Bool
    /// The meaning of the change.
    package let verdict: Verdict

    /// Whether this is a regression of this library, which comparisons are made to find.
    package var isRegression: Bool { isOurs && verdict == .regression }

    /// Compares the times of a measurement or, between different machines, the ratios to its floor.
    init(old: BenchMeasurement, new: BenchMeasurement, sameMachine: Bool, tolerance: Double) {
        let ratios = sameMachine ? nil : Interval.ratio(old).flatMap { old in Interval.ratio(new).map { (old, $0) } }
        let (before, after) = ratios ?? (Interval(old.ours), Interval(new.ours))
        self.init(
            of: new, counted: nil, basis: ratios == nil ? .time : .ratioToFloor, before, after,
            verdict: sameMachine || ratios != nil ? before.verdict(after, tolerance) : .incomparable,
            floorChange: old.floor.flatMap { old in new.floor.flatMap { $0.median.ratio(to: old.median) } })
    }

    /// Compares a count that both runs have.
    init(counted: String, in measurement: BenchMeasurement, old: Double, new: Double, tolerance: Double) {
        let noise = CountNoise.of(counted)
        let (before, after) = (Interval(old, noise: noise), Interval(new, noise: noise))
        self.init(
            of: measurement, counted: counted, basis: .count, before, after,
            verdict: before.verdict(after, tolerance), floorChange: nil)
    }

    private init(
        of measurement: BenchMeasurement, counted: String?, basis: Basis, _ before: Interval, _ after: Interval,
        verdict: Verdict, floorChange: Double?
    ) {
        scenario = measurement.scenario
        name = measurement.name
        parameters = measurement.parameters
        self.counted = counted
        self.basis = basis
        old = before.middle
        new = after.middle
        change = after.middle.ratio(to: before.middle)
        self.floorChange = floorChange
        isOurs = measurement.isOurs
        self.verdict = verdict
    }
}

extension BenchMeasurement {
    /// Whether this library was measured, and not a tool that it is compared with.
    var isOurs: Bool { scenario != "compare" || name == "liveupdate" }
}

extension Double {
    fileprivate func ratio(to other: Double) -> Double? { other > 0 ? self / other : nil }
}

/// The differences between counts of two runs without any change.
enum CountNoise {
    /// Whether the count is in fact a time. The measurement already has it, with its quartiles.
    static func isTime(_ name: String) -> Bool { name.contains("nanoseconds") }

    /// The counts of this package are exact. The kernel's counters include unrelated work of the process, but less than
    /// a page of content and less than the faults of a few pages of code. The system calls of a thread include a few of
    /// malloc(3).
    static func of(_ name: String) -> Double {
        if name.hasPrefix("content bytes") { return 4095 }
        switch name {
        case "page faults": return 16
        case "system calls of the thread": return 4
        default: return 0
        }
    }
}

/// A figure with the bounds of its noise.
private struct Interval {
    let lower: Double
    let middle: Double
    let upper: Double

    /// Makes the interval of a median and its quartiles.
    init(_ distribution: BenchDistribution) {
        lower = distribution.lowerQuartile
        middle = distribution.median
        upper = distribution.upperQuartile
    }

    /// Makes the interval of a count that differs by `noise` from run to run.
    init(_ value: Double, noise: Double) {
        self.init(lower: value - noise / 2, middle: value, upper: value + noise / 2)
    }

    private init(lower: Double, middle: Double, upper: Double) {
        (self.lower, self.middle, self.upper) = (lower, middle, upper)
    }

    /// The ratio to the floor, with the least and the greatest ratio that the quartiles allow. This interval is at
    /// least as wide as the true one.
    static func ratio(_ measurement: BenchMeasurement) -> Interval? {
        let ours = measurement.ours
        guard let floor = measurement.floor, floor.lowerQuartile > 0 else { return nil }
        return Interval(
            lower: ours.lowerQuartile / floor.upperQuartile, middle: ours.median / floor.median,
            upper: ours.upperQuartile / floor.lowerQuartile)
    }

    func verdict(_ new: Interval, _ tolerance: Double) -> BenchChange.Verdict {
        // The tolerance is a share of the smaller value, so a change and its reverse get the same verdict. A value that
        // was zero has no tolerance.
        guard abs(new.middle - middle) > tolerance * min(abs(middle), abs(new.middle)) else { return .unchanged }
        if new.lower > upper { return .regression }
        return new.upper < lower ? .improvement : .noise
    }
}
