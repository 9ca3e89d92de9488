// SPDX-License-Identifier: Apache-2.0

/// The section that compares this library with other tools, for the same memory.
enum CompareSection {
    static func of(_ measurements: [BenchMeasurement]) -> Section {
        let words = Wording.of("compare")
        let groups = grouped(measurements).map { DotChart.Group($0) }
        guard !groups.isEmpty else {
            return Section(id: "compare", title: words.title)
        }
        let figure = Figure(
            title: "Time for the same", chart: DotChart(title: "Time for the same", groups: groups),
            key: "Round: ours. Square: the other tool. Each time of another tool with how many times ours it is.",
            table: table(measurements), notes: notes(measurements))
        return Section(
            id: "compare", title: words.title, introduction: words.introduction, groups: [("", [figure])])
    }

    /// Groups results of the same memory. Our result begins a group, because it is measured in turn with the following
    /// ones.
    private static func grouped(_ measurements: [BenchMeasurement]) -> [[BenchMeasurement]] {
        measurements.reduce(into: []) { groups, one in
            if one.isOurs || groups.last?.last?.parameters != one.parameters {
                groups.append([one])
            } else {
                groups[groups.count - 1].append(one)
            }
        }
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

extension DotChart.Group {
    /// Makes a group of results of the same memory.
    fileprivate init(_ measurements: [BenchMeasurement]) {
        let ours = measurements.first(where: \.isOurs)?.ours.median
        heading = measurements.first.map { Parameters.text($0.parameters) } ?? ""
        dots = measurements.map { one in
            let remark = one.isOurs ? nil : ours.flatMap { $0 > 0 ? Quantity.ratio(one.ours.median / $0) : nil }
            return DotChart.Dot(
                label: one.name, tone: one.isOurs ? .ours : .other, time: one.ours.median, remark: remark ?? "")
        }
    }
}
