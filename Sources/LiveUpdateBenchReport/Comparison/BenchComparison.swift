// SPDX-License-Identifier: Apache-2.0

/// The changes between two runs that are larger than the noise.
package struct BenchComparison: Encodable, Equatable, Sendable {
    /// A measurement that only one of the two runs has.
    package struct Unmatched: Encodable, Equatable, Sendable {
        /// As in ``BenchMeasurement``.
        package let scenario: String
        /// As in ``BenchMeasurement``.
        package let name: String
        /// As in ``BenchMeasurement``.
        package let parameters: [String: UInt64]
    }

    /// The share by which a value may change and still count as unchanged: 0.1 is 10 %.
    package let tolerance: Double
    /// Whether both runs were on the same machine. If not, ratios to the floor are compared instead of times.
    package let sameMachine: Bool
    /// The reasons to doubt the comparison.
    package let warnings: [String]
    /// The changes of everything that both runs have: regressions first, and among these the largest first.
    package let changes: [BenchChange]
    /// The measurements that only the older run has.
    package let onlyInOld: [Unmatched]
    /// The measurements that only the newer run has.
    package let onlyInNew: [Unmatched]
    /// Whether any measurement of this library got worse.
    package let hasRegressions: Bool

    /// Compares two runs.
    ///
    /// - Parameters:
    ///   - old: the earlier run.
    ///   - new: the later run.
    ///   - tolerance: the share by which a value may change and still count as unchanged: 0.1 is 10 %.
    /// - Throws: ``BenchSchemaError`` if one of them has a layout that this version does not know.
    package init(old: BenchDocument, new: BenchDocument, tolerance: Double = 0.1) throws(BenchSchemaError) {
        for document in [old, new] { try BenchDocument.Header(schema: document.schema).check() }
        let differences = old.machine.differences(to: new.machine)
        let sameMachine = differences.isEmpty
        let before = Dictionary(old.measurements.map { (Key($0), $0) }) { $1 }
        let after = Dictionary(new.measurements.map { (Key($0), $0) }) { $1 }
        let pairs = new.measurements.compactMap { now in before[Key(now)].map { (old: $0, new: now) } }
        let changes = pairs.flatMap { pair in
            [BenchChange(old: pair.old, new: pair.new, sameMachine: sameMachine, tolerance: tolerance)]
                + BenchChange.counts(pair.old, pair.new, tolerance)
        }
        self.tolerance = tolerance
        self.sameMachine = sameMachine
        self.changes = changes.sorted { $0.precedes($1) }
        onlyInOld = old.measurements.filter { after[Key($0)] == nil }.map { Unmatched($0) }
        onlyInNew = new.measurements.filter { before[Key($0)] == nil }.map { Unmatched($0) }
        hasRegressions = changes.contains { $0.isRegression }
        warnings = Self.warnings(differences, old, new, hasPairs: !pairs.isEmpty)
    }

    private static func warnings(
        _ differences: [String], _ old: BenchDocument, _ new: BenchDocument, hasPairs: Bool
    ) -> [String] {
        var warnings = old.warnings.map { "older run: \($0)" } + new.warnings.map { "newer run: \($0)" }
        if !differences.isEmpty {
            warnings.insert(
                "different machines (\(differences.joined(separator: "; "))): ratios to the floor are compared, not times",
                at: 0)
        }
        if !hasPairs { warnings.append("the two runs measured nothing in common") }
        return warnings
    }

    /// The identity of a measurement.
    private struct Key: Hashable {
        let scenario: String
        let name: String
        let parameters: [String: UInt64]

        init(_ measurement: BenchMeasurement) {
            scenario = measurement.scenario
            name = measurement.name
            parameters = measurement.parameters
        }
    }
}

extension BenchComparison.Unmatched {
    fileprivate init(_ measurement: BenchMeasurement) {
        self.init(scenario: measurement.scenario, name: measurement.name, parameters: measurement.parameters)
    }
}

extension BenchChange {
    fileprivate static func counts(
        _ old: BenchMeasurement, _ new: BenchMeasurement, _ tolerance: Double
    ) -> [BenchChange] {
        new.counted.filter { !CountNoise.isTime($0.key) }.sorted { $0.key < $1.key }.compactMap { name, now in
            old.counted[name].map { BenchChange(counted: name, in: new, old: $0, new: now, tolerance: tolerance) }
        }
    }

    /// Whether this change is listed before the other: the worst first.
    fileprivate func precedes(_ other: BenchChange) -> Bool { (rank, -growth) < (other.rank, -other.growth) }

    private var rank: Int {
        if isRegression { return 0 }
        return switch verdict {
        case .regression: 1
        case .improvement: 2
        case .noise: 3
        case .unchanged: 4
        case .incomparable: 5
        }
    }

    private var growth: Double { change ?? (new > old ? .infinity : 1) }
}

extension BenchMachine {
    /// The differences because of which times cannot be compared: `kernel 6.1 and 6.18`.
    fileprivate func differences(to other: BenchMachine) -> [String] {
        let facts: [(String, String, String)] = [
            ("kernel", kernel, other.kernel), ("processor", processor, other.processor),
            ("processors", "\(processors)", "\(other.processors)"), ("NUMA nodes", "\(nodes)", "\(other.nodes)"),
            ("governor", governor ?? "none", other.governor ?? "none"),
            ("hypervisor", hypervisor ?? "none", other.hypervisor ?? "none"),
            // The rounding hides the kernel's own memory, which differs from boot to boot.
            ("memory", Quantity.bytes.text(Double(memory)), Quantity.bytes.text(Double(other.memory))),
        ]
        return facts.filter { $0.1 != $0.2 }.map { "\($0.0) \($0.1) and \($0.2)" }
    }
}
