/// Tables of measurements: ours, the floor beside it, their ratio, and what was counted.
enum MeasurementTable {
    /// - Parameter label: what tells a row from the others.
    static func of(
        _ measurements: [BenchMeasurement], caption: String, heading: String, label: (BenchMeasurement) -> String
    ) -> HTMLTable {
        let counts = countNames(measurements)
        var table = HTMLTable(caption, [heading, "ours", "floor", "ratio"] + counts)
        for measurement in measurements {
            let times = [time(measurement.ours), measurement.floor.map { time($0) } ?? "", ratio(measurement)]
            let counted = counts.map { name in measurement.counted[name].map { count(name, $0) } ?? "" }
            table.add(html: [label(measurement).escaped] + times + counted)
        }
        return table
    }

    /// The distribution of each, ours and the floor in rows of their own.
    static func distributions(_ ranges: [(label: String, distribution: BenchDistribution)], caption: String)
        -> HTMLTable
    {
        var table = HTMLTable(caption, ["", "minimum", "median", "99th percentile", "maximum", "rounds"])
        for (label, found) in ranges {
            let times = [found.minimum, found.median, found.percentile99, found.maximum]
            table.add(
                html: [label.escaped] + times.map { Quantity.time.text($0) } + [Decimal.grouped(Double(found.rounds))])
        }
        return table
    }

    /// What the figures alone would not say, each thing once.
    static func notes(_ measurements: [BenchMeasurement]) -> [String] {
        let floors = measurements.compactMap(\.floorName).map { "Floor: \($0)." }
        return (floors + measurements.compactMap(\.note)).reduce(into: []) {
            if !$0.contains($1) { $0.append($1) }
        }
    }

    /// The median, and the quartiles around it.
    static func time(_ distribution: BenchDistribution) -> String {
        let quartiles = [distribution.lowerQuartile, distribution.upperQuartile].map { Quantity.time.text($0) }
        return Quantity.time.text(distribution.median).escaped
            + (distribution.rounds > 1 ? HTML.small(quartiles.joined(separator: " – ")) : "")
    }

    private static func ratio(_ measurement: BenchMeasurement) -> String {
        guard let ratio = measurement.ratio else { return "" }
        let limit = measurement.ratioLimit.map { HTML.small("limit \(Quantity.ratio($0))") } ?? ""
        return Quantity.ratio(ratio) + limit
    }

    private static func countNames(_ measurements: [BenchMeasurement]) -> [String] {
        Set(measurements.flatMap(\.counted.keys)).sorted()
    }

    private static func count(_ name: String, _ value: Double) -> String {
        // Bytes, unless it is their share of something.
        (name.contains("bytes") && !name.contains("per") ? Quantity.bytes : .count).text(value).escaped
    }
}
