// SPDX-License-Identifier: Apache-2.0

/// Measurements that differ in one parameter only, drawn as one line of a picture.
struct Sweep {
    /// The parameter that differs.
    let axis: String
    let name: String
    /// The parameters that do not differ.
    let fixed: [String: UInt64]
    /// The measurements in the order of the axis.
    let measurements: [BenchMeasurement]

    /// Finds all sweeps along an axis, in the order in which they were measured. A single value makes no sweep.
    ///
    /// `each` is another parameter that grows in proportion to the axis. Twice as many files of one size have twice as
    /// many bytes, for example, so `bytes` per file stays the same.
    static func along(_ axis: String, each: String? = nil, in measurements: [BenchMeasurement]) -> [Sweep] {
        var keys: [Key] = []
        var members: [Key: [BenchMeasurement]] = [:]
        for measurement in measurements {
            guard let key = Key(measurement, without: axis, each: each) else { continue }
            if members[key] == nil { keys.append(key) }
            members[key, default: []].append(measurement)
        }
        return keys.compactMap { key in
            let sorted = (members[key] ?? []).sorted { ($0.parameters[axis] ?? 0) < ($1.parameters[axis] ?? 0) }
            guard sorted.first?.parameters[axis] != sorted.last?.parameters[axis] else { return nil }
            return Sweep(axis: axis, name: key.name, fixed: key.fixed, measurements: sorted)
        }
    }

    private struct Key: Hashable {
        let name: String
        let fixed: [String: UInt64]

        init?(_ measurement: BenchMeasurement, without axis: String, each: String?) {
            guard let value = measurement.parameters[axis] else { return nil }
            name = measurement.name
            var fixed = measurement.parameters.filter { $0.key != axis }
            if let each {
                guard let sum = fixed.removeValue(forKey: each), value > 0, sum % value == 0 else { return nil }
                fixed["\(each) each"] = sum / value
            }
            self.fixed = fixed
        }
    }

    var figure: Figure {
        let title = name
        let chart = LineChart(
            title: ([title] + (fixed.isEmpty ? [] : [Parameters.text(fixed)])).joined(separator: ", "),
            xTitle: Parameters.axisTitle(axis), xQuantity: Parameters.quantity(axis), xSpacing: spacing,
            series: [ours, floor].filter { !$0.points.isEmpty })
        let heading = Parameters.axisTitle(axis)
        let label = { (one: BenchMeasurement) in Parameters.quantity(axis).text(x(one)) }
        return Figure(
            title: title, chart: chart,
            table: MeasurementTable.of(measurements, caption: chart.title, heading: heading, label: label),
            counts: MeasurementTable.counts(measurements, caption: chart.title, heading: heading, label: label),
            notes: MeasurementTable.notes(measurements))
    }

    private var spacing: Scale.Spacing {
        switch Parameters.quantity(axis) {
        case .bytes: .doubling
        case .percent: .linear
        case .count, .time: .logarithmic
        }
    }

    private var ours: LineChart.Series {
        .init(name: "ours", tone: .ours, points: measurements.map { (x($0), $0.ours) })
    }

    private var floor: LineChart.Series {
        .init(name: "floor", tone: .floor, points: measurements.compactMap { one in one.floor.map { (x(one), $0) } })
    }

    private func x(_ measurement: BenchMeasurement) -> Double { Double(measurement.parameters[axis] ?? 0) }
}
