extension BenchProjection {
    /// The sizes that are projected to: 1 TiB and 10 TiB.
    static let sizes: [UInt64] = [1 << 40, 10 << 40]

    /// Of what was measured at two sizes at least, in one file without holes: a straight line through the medians.
    public static func all(of measurements: [BenchMeasurement]) -> [BenchProjection] {
        let usable = measurements.filter { measurement in
            ["hugetlb", "memfd"].contains(measurement.scenario) && measurement.parameters["files"] == 1
                && measurement.parameters["holes"] == 0
        }
        var seen: Set<String> = []
        let names = usable.map(\.name).filter { seen.insert($0).inserted }
        let pages = Set(usable.compactMap { $0.parameters["page"] }).sorted()
        return pages.flatMap { page in
            names.flatMap { name in
                line(of: name, page, usable.filter { $0.name == name && $0.parameters["page"] == page })
            }
        }
    }

    private static func line(
        of name: String, _ page: UInt64, _ measurements: [BenchMeasurement]
    ) -> [BenchProjection] {
        let points = measurements.map { (bytes: $0.parameters["bytes"] ?? 0, measurement: $0) }
        let times = LinearFit(points.map { (Double($0.bytes), $0.measurement.ours.median) })
        guard let times, let from = points.map(\.bytes).min(), let largest = points.max(by: { $0.bytes < $1.bytes }) else {
            return []
        }
        // Records come in blocks, so that small files say nothing about large ones: the largest is taken as it is.
        let arena = (largest.measurement.counted["arena bytes"] ?? 0) / Double(largest.bytes)
        return sizes.map { bytes in
            BenchProjection(
                name: name, bytes: bytes, page: page, time: max(times.value(at: Double(bytes)), 0),
                arena: arena * Double(bytes), measuredFrom: from, measuredTo: largest.bytes)
        }
    }
}
