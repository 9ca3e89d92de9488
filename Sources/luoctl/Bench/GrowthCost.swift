// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport

/// Measures the cost of adding one more when there are many already.
struct GrowthCost {
    let run: BenchRun
    let scenario: BenchScenario
    let note: String?

    /// The numbers that exist before: each is ten times the previous one.
    static func counts(_ run: BenchRun) -> [UInt64] { run.isQuick ? [10, 100, 1000] : [10, 100, 1000, 10_000] }

    /// Adds a result for each count. The last result includes the slope: the increase of the cost for each existing
    /// one.
    func add(_ samples: [(count: UInt64, ours: [Double], floor: [Double])], floorName: String?) {
        let distributions = samples.map { (count: $0.count, ours: BenchDistribution($0.ours)) }
        let slope = LinearFit(distributions.map { (Double($0.count), $0.ours.median) })?.slope ?? 0
        for (index, sample) in samples.enumerated() {
            run.add(
                BenchMeasurement(
                    scenario: scenario.rawValue, name: "one more", parameters: [scenario.rawValue: sample.count],
                    ours: distributions[index].ours,
                    floor: sample.floor.isEmpty ? nil : BenchDistribution(sample.floor),
                    floorName: sample.floor.isEmpty ? nil : floorName,
                    counted: index == samples.count - 1 ? ["slope in nanoseconds per 1,000": slope * 1000] : [:],
                    note: note))
        }
    }
}
