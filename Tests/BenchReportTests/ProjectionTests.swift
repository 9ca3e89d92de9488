// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import Testing

@Suite struct ProjectionTests {
    @Test func aLineThroughPointsThatLieOnOne() throws {
        let fit = try #require(LinearFit([(x: 1, y: 5), (x: 2, y: 7), (x: 4, y: 11)]))
        #expect(abs(fit.slope - 2) < 1e-9)
        #expect(abs(fit.intercept - 3) < 1e-9)
        #expect(abs(fit.value(at: 10) - 23) < 1e-9)
    }

    @Test func aLineBetweenPointsThatDoNot() throws {
        // The residuals of least squares: 0.5, -1, 0.5.
        let fit = try #require(LinearFit([(x: 0, y: 1), (x: 1, y: 0), (x: 2, y: 2)]))
        #expect(abs(fit.slope - 0.5) < 1e-9)
        #expect(abs(fit.intercept - 0.5) < 1e-9)
    }

    @Test func noLineThroughOnePlace() {
        #expect(LinearFit([]) == nil)
        #expect(LinearFit([(x: 1, y: 5)]) == nil)
        #expect(LinearFit([(x: 1, y: 5), (x: 1, y: 6)]) == nil)
    }

    private func preserve(_ bytes: UInt64, _ times: [Double], arena: Double, holes: UInt64 = 0) -> BenchMeasurement {
        BenchMeasurement(
            scenario: "hugetlb", name: "preserve",
            parameters: ["bytes": bytes, "page": 2 << 20, "files": 1, "holes": holes], ours: BenchDistribution(times),
            counted: ["arena bytes": arena])
    }

    /// The test data is 1 ms plus 1 µs for each MiB. The arena is as large as the largest one that was measured.
    @Test func toSizesThatWereNotMeasured() throws {
        let projections = BenchProjection.all(of: [
            preserve(1 << 30, [2_024_000], arena: 8192), preserve(4 << 30, [5_096_000], arena: 16384),
            preserve(4 << 30, [9e9], arena: 1, holes: 50),
        ])
        #expect(projections.map(\.bytes) == [1 << 40, 10 << 40])
        let first = try #require(projections.first)
        #expect(first.name == "preserve")
        #expect(abs(first.time - (1_000_000 + 1000 * 1_048_576)) < 1)
        #expect(first.arena == 16384 * 256)
        #expect(first.measuredFrom == 1 << 30)
        #expect(first.measuredTo == 4 << 30)
    }

    /// Overlapping quartiles give no slope.
    @Test func nothingFromNoise() {
        let projections = BenchProjection.all(of: [
            preserve(1 << 30, [1, 2, 3, 4], arena: 0), preserve(4 << 30, [2, 3, 4, 5], arena: 0),
        ])
        #expect(projections.isEmpty)
    }
}
