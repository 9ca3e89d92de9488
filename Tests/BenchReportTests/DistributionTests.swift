// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import Testing

/// Quantiles use the nearest rank: each quantile is a measured value, and never lies between two of them.
@Suite struct DistributionTests {
    @Test func ofOneRound() {
        let one = BenchDistribution([7])
        #expect(one.rounds == 1)
        #expect(
            [one.minimum, one.lowerQuartile, one.median, one.upperQuartile, one.percentile99, one.maximum]
                == Array(repeating: 7, count: 6))
        #expect(one.spread == 0)
    }

    @Test func ofAHundredInAnyOrder() {
        let hundred = BenchDistribution((1...100).map(Double.init).shuffled())
        #expect(hundred.minimum == 1)
        #expect(hundred.lowerQuartile == 25)
        #expect(hundred.median == 50)
        #expect(hundred.upperQuartile == 75)
        #expect(hundred.percentile99 == 99)
        #expect(hundred.maximum == 100)
        #expect(hundred.spread == 1)
    }

    @Test func thePercentileOfFewIsTheirMaximum() {
        #expect(BenchDistribution([1, 2, 3, 4, 100]).percentile99 == 100)
    }

    @Test func nothingHasNoSpread() {
        #expect(BenchDistribution([0, 0, 0]).spread == 0)
    }
}
