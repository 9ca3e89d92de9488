/// How a measurement, or something counted in it, differs between two runs.
public struct BenchChange: Encodable, Equatable, Sendable {
    /// What a change means.
    public enum Verdict: String, Encodable, Sendable {
        /// It got worse, beyond the noise and the tolerance.
        case regression
        /// It got better, beyond the noise and the tolerance.
        case improvement
        /// No more than the tolerance.
        case unchanged
        /// More than the tolerance, but the quartiles of both runs overlap: it may be nothing.
        case noise
        /// Nothing can be said: measured on different machines, with no floor to hold it against.
        case incomparable
    }

    /// What is compared.
    public enum Basis: String, Encodable, Sendable {
        /// Medians, in nanoseconds.
        case time
        /// Ours to the floor, both medians.
        case ratioToFloor = "ratio to floor"
        /// Something that was counted, and so has no noise but what the kernel's counters count besides.
        case count
    }

    /// As in ``BenchMeasurement``.
    public let scenario: String
    /// As in ``BenchMeasurement``.
    public let name: String
    /// As in ``BenchMeasurement``.
    public let parameters: [String: UInt64]
    /// Which of its counts; nil for the time.
    public let counted: String?
    /// What ``old`` and ``new`` are.
    public let basis: Basis
    /// In the older run.
    public let old: Double
    /// In the newer run.
    public let new: Double
    /// New to old: above 1 is worse. Nil where the old one is zero.
    public let change: Double?
    /// The same of the floor's time, where both runs have one: how much of the change is the machine's.
    public let floorChange: Double?
    /// Whether it is ours, and so counts; what other tools take is shown beside it.
    public let isOurs: Bool
    /// What it means.
    public let verdict: Verdict

    /// Whether it is what a comparison is made for finding.
    public var isRegression: Bool { isOurs && verdict == .regression }

    /// The times of a measurement, or, between machines, the ratios to its floor.
    init(old: BenchMeasurement, new: BenchMeasurement, sameMachine: Bool, tolerance: Double) {
        let ratios = sameMachine ? nil : Interval.ratio(old).flatMap { old in Interval.ratio(new).map { (old, $0) } }
        let (before, after) = ratios ?? (Interval(old.ours), Interval(new.ours))
        self.init(
            of: new, counted: nil, basis: ratios == nil ? .time : .ratioToFloor, before, after,
            verdict: sameMachine || ratios != nil ? before.verdict(after, tolerance) : .incomparable,
            floorChange: old.floor.flatMap { old in new.floor.flatMap { $0.median.ratio(to: old.median) } })
    }

    /// Something that was counted in both.
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
    /// Whether this library was measured, and not what it is compared with.
    var isOurs: Bool { scenario != "compare" || name == "liveupdate" }
}

extension Double {
    fileprivate func ratio(to other: Double) -> Double? { other > 0 ? self / other : nil }
}

/// How much counts differ though nothing has changed.
enum CountNoise {
    /// Whether it is a time in truth, which the measurement has with its quartiles.
    static func isTime(_ name: String) -> Bool { name.contains("nanoseconds") }

    /// What is counted here is exact; the kernel's counters also have what the process does besides, but less than a
    /// page of content, and than the faults of a few pages of code.
    static func of(_ name: String) -> Double {
        if name.hasPrefix("content bytes") { return 4095 }
        return name == "page faults" ? 16 : 0
    }
}

/// A figure and where its noise ends.
private struct Interval {
    let lower: Double
    let middle: Double
    let upper: Double

    /// A median with its quartiles.
    init(_ distribution: BenchDistribution) {
        lower = distribution.lowerQuartile
        middle = distribution.median
        upper = distribution.upperQuartile
    }

    /// A count, and by how much it differs from run to run.
    init(_ value: Double, noise: Double) {
        self.init(lower: value - noise / 2, middle: value, upper: value + noise / 2)
    }

    private init(lower: Double, middle: Double, upper: Double) {
        (self.lower, self.middle, self.upper) = (lower, middle, upper)
    }

    /// Ours to the floor. The least that the quartiles allow, to the most: wider than the truth, never narrower.
    static func ratio(_ measurement: BenchMeasurement) -> Interval? {
        let ours = measurement.ours
        guard let floor = measurement.floor, floor.lowerQuartile > 0 else { return nil }
        return Interval(
            lower: ours.lowerQuartile / floor.upperQuartile, middle: ours.median / floor.median,
            upper: ours.upperQuartile / floor.lowerQuartile)
    }

    func verdict(_ new: Interval, _ tolerance: Double) -> BenchChange.Verdict {
        // Of the smaller one, so that a change and its reverse are judged alike. What was zero may not become anything.
        guard abs(new.middle - middle) > tolerance * min(abs(middle), abs(new.middle)) else { return .unchanged }
        if new.lower > upper { return .regression }
        return new.upper < lower ? .improvement : .noise
    }
}
