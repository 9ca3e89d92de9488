// SPDX-License-Identifier: Apache-2.0

/// The distribution of a duration over many rounds, in nanoseconds.
package struct BenchDistribution: Codable, Equatable, Sendable {
    package var rounds: Int
    package var minimum: Double
    package var lowerQuartile: Double
    package var median: Double
    package var upperQuartile: Double
    /// The 99th percentile. With fewer than 100 rounds it is the maximum.
    package var percentile99: Double
    package var maximum: Double

    /// Makes a distribution of at least one sample.
    package init(_ samples: [Double]) {
        precondition(!samples.isEmpty, "a distribution of nothing")
        let sorted = samples.sorted()
        /// The quantile by the nearest rank.
        func quantile(_ share: Double) -> Double {
            sorted[min(sorted.count - 1, max(0, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
        }
        rounds = sorted.count
        minimum = sorted[0]
        lowerQuartile = quantile(0.25)
        median = quantile(0.5)
        upperQuartile = quantile(0.75)
        percentile99 = quantile(0.99)
        maximum = sorted[sorted.count - 1]
    }

    /// The distance of the quartiles as a share of the median: the change that noise alone can cause.
    package var spread: Double { median > 0 ? (upperQuartile - lowerQuartile) / median : 0 }
}
