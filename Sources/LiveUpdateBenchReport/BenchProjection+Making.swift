// SPDX-License-Identifier: Apache-2.0
extension BenchProjection {
    /// The projected sizes: 1 TiB and 10 TiB.
    static let sizes: [UInt64] = [1 << 40, 10 << 40]

    /// The projected times: preserving looks at every page or piece, so it grows with the memory; the blackout should
    /// not.
    static let names = ["preserve", "blackout"]

    /// Projects along a straight line through the medians of files without holes. Makes no projection unless the
    /// quartiles of the smallest and the largest size are apart: otherwise no slope is visible.
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
        // The arena grows in blocks, so small files say nothing about large ones. This scales the arena of the largest
        // size.
        let arena = (largest.measurement.counted["arena bytes"] ?? 0) / Double(largest.bytes)
        return sizes.map { bytes in
            BenchProjection(
                name: name, bytes: bytes, page: page, time: max(times.value(at: Double(bytes)), 0),
                arena: arena * Double(bytes), measuredFrom: smallest.bytes, measuredTo: largest.bytes)
        }
    }
}
