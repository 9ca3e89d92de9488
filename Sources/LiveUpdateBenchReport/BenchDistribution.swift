// SPDX-License-Identifier: Apache-2.0

/// The distribution of a duration over many rounds, in nanoseconds.
public struct BenchDistribution: Codable, Equatable, Sendable {
    public var rounds: Int
    public var minimum: Double
    public var lowerQuartile: Double
    public var median: Double
    public var upperQuartile: Double
    /// The 99th percentile. With fewer than 100 rounds it is the maximum.
    public var percentile99: Double
    public var maximum: Double

    /// Makes a distribution of at least one sample.
    public init(_ samples: [Double]) {
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
    public var spread: Double { median > 0 ? (upperQuartile - lowerQuartile) / median : 0 }
}
