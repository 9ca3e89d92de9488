// SPDX-License-Identifier: Apache-2.0

/// The section about the blackout: its duration, its spread and its parts.
enum UpdateSection {
    static func of(_ measurements: [BenchMeasurement]) -> Section {
        let words = Wording.of("update")
        let blackouts = measurements.filter { name($0) == "blackout" }
        let figures = [distribution(blackouts), parts(blackouts, measurements)].compactMap { $0 }
        // The distribution shows all blackouts, in lines or not. Without blackouts, nothing has shown their parts yet.
        let lines = measurements.filter { blackouts.isEmpty || !isPart($0) }
        return Section(
            id: "update", title: words.title, introduction: words.introduction,
            groups: [("", figures)] + ScenarioSection.groups(lines, shown: blackouts))
    }

    /// The prefixes in the names of measurements of luod and of hand-overs.
    private static let prefixes = ["luod: ", "luod, loaded: ", "hand-over: "]

    /// The prefix of a measurement of luod or of a hand-over; empty for a program that replaces itself by execve.
    private static func prefix(_ measurement: BenchMeasurement) -> String {
        prefixes.first { measurement.name.hasPrefix($0) } ?? ""
    }

    private static func name(_ measurement: BenchMeasurement) -> Substring {
        measurement.name.dropFirst(prefix(measurement).count)
    }

    private static func label(_ measurement: BenchMeasurement) -> String {
        let conditions = measurement.conditions
        let words = conditions.isEmpty ? Parameters.text(measurement.parameters) : conditions.joined(separator: ", ")
        let prefix = prefix(measurement)
        return (prefix.isEmpty ? "execve: " : prefix) + words
    }

    /// Whether a measurement is a part of the blackout. The others are the blackout itself, whole updates, cycles and
    /// preserving.
    private static func isPart(_ measurement: BenchMeasurement) -> Bool {
        let name = name(measurement)
        return !["blackout", "whole update", "preserve"].contains(name) && !name.hasPrefix("cycle")
    }

    private static func distribution(_ blackouts: [BenchMeasurement]) -> Figure? {
        guard !blackouts.isEmpty else { return nil }
        let rows = blackouts.map { RangeChart.Row($0, label: label($0)) }
        let title = "Distribution of the blackout"
        return Figure(
            title: title, chart: RangeChart(title: title, rows: rows), key: RangeChart.key,
            table: MeasurementTable.distributions(blackouts, caption: title, label: label),
            counts: MeasurementTable.counts(blackouts, caption: title, heading: "", label: label),
            notes: MeasurementTable.notes(blackouts))
    }

    private static func parts(_ blackouts: [BenchMeasurement], _ measurements: [BenchMeasurement]) -> Figure? {
        let rows = blackouts.compactMap { blackout -> StackedChart.Row? in
            let parts = measurements.filter {
                isPart($0) && $0.parameters == blackout.parameters && prefix($0) == prefix(blackout)
            }.map { (name: String(name($0)), time: $0.ours.median) }
            guard !parts.isEmpty else { return nil }
            let rest = blackout.ours.median - parts.reduce(0) { $0 + $1.time }
            return StackedChart.Row(label: label(blackout), parts: parts + (rest > 0 ? [("rest", rest)] : []))
        }
        guard !rows.isEmpty else { return nil }
        let title = "Parts of the blackout"
        return Figure(
            title: title, chart: StackedChart(title: title, rows: rows), table: table(rows, caption: title),
            notes: [
                "Each bar is the whole blackout. Medians of each part; the rest is what is left of the blackout's median."
            ])
    }

    private static func table(_ rows: [StackedChart.Row], caption: String) -> HTMLTable {
        let names = rows.flatMap { $0.parts.map(\.name) }.reduce(into: [String]()) {
            if !$0.contains($1) { $0.append($1) }
        }
        var table = HTMLTable(caption, [""] + names + ["sum"])
        for row in rows {
            let times = names.map { name in
                row.parts.first { $0.name == name }.map { Quantity.time.text($0.time) } ?? ""
            }
            table.add(html: [row.label.escaped] + times + [Quantity.time.text(row.total)])
        }
        return table
    }
}
