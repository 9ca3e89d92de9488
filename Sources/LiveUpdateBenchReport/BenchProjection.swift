// SPDX-License-Identifier: Apache-2.0

/// An estimate for a size that was not measured, from a measured slope. Every place that shows it marks it as such.
package struct BenchProjection: Codable, Equatable, Sendable {
    /// The estimated work: a name as in ``BenchMeasurement``.
    package var name: String
    /// The size of the memory, in bytes.
    package var bytes: UInt64
    /// The size of its pages, in bytes.
    package var page: UInt64
    /// The estimated time, in nanoseconds.
    package var time: Double
    /// The size of the arena, in bytes.
    package var arena: Double
    /// The smallest and the largest measured size, in bytes.
    package var measuredFrom: UInt64
    package var measuredTo: UInt64

    package init(
        name: String, bytes: UInt64, page: UInt64, time: Double, arena: Double, measuredFrom: UInt64, measuredTo: UInt64
    ) {
        self.name = name
        self.bytes = bytes
        self.page = page
        self.time = time
        self.arena = arena
        self.measuredFrom = measuredFrom
        self.measuredTo = measuredTo
    }
}

extension BenchProjection {
    /// The projected sizes: 1 TiB and 10 TiB.
    static let sizes: [UInt64] = [1 << 40, 10 << 40]

    /// The projected times: preserving looks at every page or piece, so it grows with the memory; the blackout should
    /// not.
    static let names = ["preserve", "blackout"]

    /// Projects along a straight line through the medians of files without holes. Makes no projection unless the
    /// quartiles of the smallest and the largest size are apart: otherwise no slope is visible.
    package static func all(of measurements: [BenchMeasurement]) -> [BenchProjection] {
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

/// The straight line through some points, by least squares: the cost of one more, and the cost of none.
package struct LinearFit: Equatable, Sendable {
    /// The value at x = 0.
    package let intercept: Double
    /// The increase for each unit of x.
    package let slope: Double

    /// Fits a line. Nil if all points have the same x.
    package init?(_ points: [(x: Double, y: Double)]) {
        guard let first = points.first, points.contains(where: { $0.x != first.x }) else { return nil }
        let count = Double(points.count)
        let meanX = points.reduce(0) { $0 + $1.x } / count
        let meanY = points.reduce(0) { $0 + $1.y } / count
        let covariance = points.reduce(0) { $0 + ($1.x - meanX) * ($1.y - meanY) }
        let variance = points.reduce(0) { $0 + ($1.x - meanX) * ($1.x - meanX) }
        slope = covariance / variance
        intercept = meanY - slope * meanX
    }

    package func value(at x: Double) -> Double { intercept + slope * x }
}
