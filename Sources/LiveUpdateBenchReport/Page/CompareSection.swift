// SPDX-License-Identifier: Apache-2.0

/// The section that compares this library with other tools, for the same memory.
enum CompareSection {
    static func of(_ measurements: [BenchMeasurement]) -> Section {
        let words = Wording.of("compare")
        let subjects = measurements.map(\.parameters).reduce(into: [[String: UInt64]]()) {
            if !$0.contains($1) { $0.append($1) }
        }
        let groups = subjects.map { subject in
            BarChart.Group(subject, of: measurements.filter { $0.parameters == subject })
        }
        guard !groups.isEmpty else {
            return Section(id: "compare", title: words.title)
        }
        let figure = Figure(
            title: "Time for the same", chart: BarChart(title: "Time for the same", groups: groups),
            key: "On a logarithmic scale; each time with how many times ours it is.",
            table: table(measurements), notes: notes(measurements))
        return Section(
            id: "compare", title: words.title, introduction: words.introduction, groups: [("", [figure])])
    }

    private static func table(_ measurements: [BenchMeasurement]) -> HTMLTable {
        var table = HTMLTable("Time for the same", ["", "time", "99th percentile", "maximum", "rounds"])
        for one in measurements {
            let label = ([one.name] + (one.parameters.isEmpty ? [] : [Parameters.text(one.parameters)]))
            table.add(html: [
                label.joined(separator: ", ").escaped, MeasurementTable.time(one.ours),
                Quantity.time.text(one.ours.percentile99), Quantity.time.text(one.ours.maximum),
                Decimal.grouped(Double(one.ours.rounds)),
            ])
        }
        return table
    }

    private static func notes(_ measurements: [BenchMeasurement]) -> [String] {
        measurements.compactMap { one in one.note.map { "\(one.name): \($0)" } }.reduce(into: []) {
            if !$0.contains($1) { $0.append($1) }
        }
    }
}

extension BarChart.Group {
    fileprivate init(_ subject: [String: UInt64], of measurements: [BenchMeasurement]) {
        let ours = measurements.first(where: \.isOurs)?.ours.median
        heading = subject.isEmpty ? "" : Parameters.text(subject)
        bars = measurements.map { one in
            let remark = one.isOurs ? nil : ours.flatMap { $0 > 0 ? Quantity.ratio(one.ours.median / $0) : nil }
            return BarChart.Bar(
                label: one.name, tone: one.isOurs ? .ours : .other, time: one.ours.median, remark: remark ?? "")
        }
    }
}
