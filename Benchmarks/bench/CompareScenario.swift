// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Compares this library with other tools that keep the same memory over a restart.
struct CompareScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        let descriptors: UInt64 = run.isQuick ? 100 : 1000
        let copied = run.sizes.filter { $0 <= min(run.memory / 2, 1 << 30) }.last ?? 64 << 20
        let dumped: UInt64 = run.isQuick ? 64 << 20 : 256 << 20
        return [
            BenchStep(scenario: .compare, title: "memcpy", seconds: run.isQuick ? 1 : 8) {
                try MemcpyComparison(run).measure(copied)
            },
            BenchStep(scenario: .compare, title: "systemd's descriptor store", seconds: run.isQuick ? 3 : 12) {
                try StoreComparison(run).measure(descriptors)
            },
            BenchStep(scenario: .compare, title: "CRIU", seconds: run.isQuick ? 2 : 10) {
                try CheckpointComparison(run).measure(dumped)
            },
        ]
    }
}

extension BenchRun {
    /// Adds this library's result for a comparison: from preserving until a word of every file was read after the
    /// update.
    func addOurs(_ moments: [UpdateRounds.Moments], _ parameters: [String: UInt64], floor: [Double], _ name: String) {
        add(
            BenchMeasurement(
                scenario: "compare", name: "liveupdate", parameters: parameters,
                ours: BenchDistribution(moments.map { $0.finished - $0.preserving }), floor: BenchDistribution(floor),
                floorName: name,
                note:
                    "preserving, and the update by execve until a word of every file was read; what the program keeps "
                    + "outside of its memory files it must save itself"))
    }

    /// Adds the result of another tool.
    func addOther(_ name: String, _ parameters: [String: UInt64], _ times: [Double], note: String) {
        add(
            BenchMeasurement(
                scenario: "compare", name: name, parameters: parameters, ours: BenchDistribution(times), note: note))
    }
}
