// SPDX-License-Identifier: Apache-2.0

/// The section of a scenario with times by size or number: a picture for each line, and the rest as distributions.
enum ScenarioSection {
    /// The parameters along which there are pictures, in the order of the pictures.
    private static let axes = ["bytes", "files", "sessions", "descriptors", "holes"]

    static func of(_ scenario: String, _ measurements: [BenchMeasurement]) -> Section {
        let words = Wording.of(scenario)
        return Section(
            id: scenario, title: words.title, introduction: words.introduction, groups: groups(measurements))
    }

    /// Groups of pictures: one picture for each line, and one for the measurements that are in no line. Another picture
    /// shows the measurements in `shown` already. They appear here only as parts of lines.
    static func groups(_ measurements: [BenchMeasurement], shown: [BenchMeasurement] = []) -> [Group] {
        let sweeps = sweeps(measurements)
        let groups = grouped(sweeps)
        let rest = measurements.filter { one in
            !shown.contains(one) && !sweeps.contains { $0.measurements.contains(one) }
        }
        return rest.isEmpty ? groups : groups + [(groups.isEmpty ? "" : "Measured at one size", [ranges(rest)])]
    }

    typealias Group = (heading: String, figures: [Figure])

    private static func sweeps(_ measurements: [BenchMeasurement]) -> [Sweep] {
        axes.flatMap { Sweep.along($0, in: measurements) } + Sweep.along("files", each: "bytes", in: measurements)
    }

    /// Groups the pictures of measurements with the same conditions.
    private static func grouped(_ sweeps: [Sweep]) -> [Group] {
        sweeps.reduce(into: []) { groups, sweep in
            let heading = heading(sweep)
            if let index = groups.firstIndex(where: { $0.heading == heading }) {
                groups[index].figures.append(sweep.figure)
            } else {
                groups.append((heading, [sweep.figure]))
            }
        }
    }

    private static func heading(_ sweep: Sweep) -> String {
        let axis = Parameters.heading(sweep.axis)
        return sweep.fixed.isEmpty ? axis.capitalizedFirst : "\(Parameters.text(sweep.fixed)), \(axis)"
    }

    private static func ranges(_ measurements: [BenchMeasurement]) -> Figure {
        let rows = measurements.map { RangeChart.Row($0, label: label($0)) }
        let title = "distribution"
        return Figure(
            title: title, chart: RangeChart(title: title, rows: rows), key: RangeChart.key,
            table: MeasurementTable.of(measurements, caption: title, heading: "", label: label),
            counts: MeasurementTable.counts(measurements, caption: title, heading: "", label: label),
            notes: MeasurementTable.notes(measurements))
    }

    private static func label(_ measurement: BenchMeasurement) -> String {
        ([measurement.name] + (measurement.parameters.isEmpty ? [] : [Parameters.text(measurement.parameters)]))
            .joined(separator: ", ")
    }
}

extension RangeChart.Row {
    /// Makes a row with our distribution and the floor's below it.
    init(_ measurement: BenchMeasurement, label: String) {
        self.label = label
        ranges = [("ours", Tone.ours, measurement.ours)] + (measurement.floor.map { [("floor", .floor, $0)] } ?? [])
    }
}

extension String {
    var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
