import LiveUpdate
// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Measures preserving one more file when there are many.
struct FilesScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        [BenchStep(scenario: .files, title: "one more file", seconds: run.isQuick ? 0.5 : 5, body: measure)]
    }

    private func measure() throws {
        try run.processors.measureHere()
        let orchestrator = Orchestrator(arena: try Arena.make(), descriptors: InheritedDescriptors())
        try orchestrator.registerStandardHandlers()
        let session = try orchestrator.createSession("bench")
        // The next measurements need the descriptors, even if this one fails.
        defer { try? session.close() }
        var samples: [(count: UInt64, ours: [Double], floor: [Double])] = []
        var there: UInt64 = 0
        for count in GrowthCost.counts(run) {
            while there < count {
                let file = try makeMemoryFile(named: "luoctl-bench", size: PageSize.base.bytes)
                try session.preserve(file.borrowed, token: there)
                there += 1
            }
            let floor = try FloorProcess(.preserve, ["more", "\(count)"], in: run.programs)
            var sample: (count: UInt64, ours: [Double], floor: [Double]) = (count, [], [])
            for _ in 0..<run.rounds(quick: 100, full: 1000) {
                let file = try makeMemoryFile(named: "luoctl-bench", size: PageSize.base.bytes)
                sample.ours.append(try elapsed { try session.preserve(file.borrowed, token: count) })
                try session.unpreserve(token: count)
                sample.floor.append(try floor.round()[0])
            }
            samples.append(sample)
        }
        GrowthCost(run: run, scenario: .files, note: nil)
            .add(samples, floorName: "C: a copy of the descriptor, its status, and where it has pages")
    }
}
