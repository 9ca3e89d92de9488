extension BenchProjection {
    /// The sizes that are projected to: 1 TiB and 10 TiB.
    static let sizes: [UInt64] = [1 << 40, 10 << 40]

    /// What grows with the memory: preserving, which looks at every page or piece, and the blackout, which should not.
    static let names = ["preserve", "blackout"]

    /// A straight line through the medians, where they rise by more than their quartiles are apart: else there is no slope
    /// to be seen, and nothing is said. Of files without holes.
    public static func all(of measurements: [BenchMeasurement]) -> [BenchProjection] {
        let usable = measurements.filter { measurement in
            switch measurement.scenario {
            case "hugetlb", "memfd": measurement.parameters["files"] == 1 && measurement.parameters["holes"] == 0
            case "update": measurement.name == "blackout" && measurement.parameters["page"] != 4096
            default: false
            }
        }
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
        guard let times, let smallest = points.min(by: { $0.bytes < $1.bytes }),
            let largest = points.max(by: { $0.bytes < $1.bytes }),
            largest.measurement.ours.lowerQuartile > smallest.measurement.ours.upperQuartile
        else { return [] }
        // Records come in blocks, so that small files say nothing about large ones: the largest is taken as it is.
        let arena = (largest.measurement.counted["arena bytes"] ?? 0) / Double(largest.bytes)
        return sizes.map { bytes in
            BenchProjection(
                name: name, bytes: bytes, page: page, time: max(times.value(at: Double(bytes)), 0),
                arena: arena * Double(bytes), measuredFrom: smallest.bytes, measuredTo: largest.bytes)
        }
    }
}
