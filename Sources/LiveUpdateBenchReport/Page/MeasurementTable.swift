// SPDX-License-Identifier: Apache-2.0

/// Makes tables of measurements: our time, the floor beside it, their ratio, and the counts.
enum MeasurementTable {
    /// A table of the times. `label` returns the name of a row, which tells it from the others.
    static func of(
        _ measurements: [BenchMeasurement], caption: String, heading: String, label: (BenchMeasurement) -> String
    ) -> HTMLTable {
        var table = HTMLTable(caption, [heading, "ours", "floor", "ratio"])
        for measurement in measurements {
            let times = [time(measurement.ours), measurement.floor.map { time($0) } ?? "", ratio(measurement)]
            table.add(html: [label(measurement).escaped] + times)
        }
        return table
    }

    /// A table of the exact counts, or nil if there are none. Each count is a row, because the names are long.
    static func counts(
        _ measurements: [BenchMeasurement], caption: String, heading: String, label: (BenchMeasurement) -> String
    ) -> HTMLTable? {
        let names = Set(measurements.flatMap(\.counted.keys)).sorted()
        let columns = measurements.filter { !$0.counted.isEmpty }
        guard !names.isEmpty else { return nil }
        var table = HTMLTable("\(caption), counted", [heading] + columns.map(label))
        for name in names {
            table.add(html: [name.escaped] + columns.map { one in one.counted[name].map { count(name, $0) } ?? "" })
        }
        return table
    }

    /// A table of the distributions, with the floor's below ours.
    static func distributions(
        _ measurements: [BenchMeasurement], caption: String, label: (BenchMeasurement) -> String
    ) -> HTMLTable {
        let columns: [(String, (BenchDistribution) -> Double)] = [
            ("minimum", \.minimum), ("median", \.median), ("99th percentile", \.percentile99), ("maximum", \.maximum),
        ]
        var table = HTMLTable(caption, [""] + columns.map(\.0) + ["rounds"])
        for one in measurements {
            let times = columns.map { _, value in
                Quantity.time.text(value(one.ours))
                    + (one.floor.map { HTML.small(Quantity.time.text(value($0))) } ?? "")
            }
            let words = label(one).escaped + (one.floor == nil ? "" : HTML.small("floor"))
            table.add(html: [words] + times + [Decimal.grouped(Double(one.ours.rounds))])
        }
        return table
    }

    /// The explanations that the figures need, each once.
    static func notes(_ measurements: [BenchMeasurement]) -> [String] {
        let floors = measurements.compactMap(\.floorName).map { "Floor: \($0)." }
        return (floors + measurements.compactMap(\.note)).reduce(into: []) {
            if !$0.contains($1) { $0.append($1) }
        }
    }

    /// The median with the quartiles around it.
    static func time(_ distribution: BenchDistribution) -> String {
        let quartiles = Quantity.time.range(distribution.lowerQuartile, distribution.upperQuartile)
        return Quantity.time.text(distribution.median).escaped
            + (distribution.rounds > 1 ? HTML.small(quartiles) : "")
    }

    private static func ratio(_ measurement: BenchMeasurement) -> String {
        guard let ratio = measurement.ratio else { return "" }
        let limit = measurement.ratioLimit.map { HTML.small("≤ \(Quantity.ratio($0))") } ?? ""
        return Quantity.ratio(ratio) + limit
    }

    private static func count(_ name: String, _ value: Double) -> String {
        // A count of bytes has a unit, but not a ratio such as bytes per page.
        (name.contains("bytes") && !name.contains("per") ? Quantity.bytes : .count).text(value).escaped
    }
}
