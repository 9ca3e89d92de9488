// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import LiveUpdateBenchReport
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

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

/// Measures creating one more session when there are many.
struct SessionsScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        [BenchStep(scenario: .sessions, title: "one more session", seconds: run.isQuick ? 0.2 : 2, body: measure)]
    }

    private func measure() throws {
        try run.processors.measureHere()
        let orchestrator = Orchestrator(arena: try Arena.make(), descriptors: InheritedDescriptors())
        var samples: [(count: UInt64, ours: [Double], floor: [Double])] = []
        var sessions: [Session] = []
        for count in GrowthCost.counts(run) {
            while sessions.count < count { sessions.append(try orchestrator.createSession("bench-\(sessions.count)")) }
            var times: [Double] = []
            for _ in 0..<run.rounds(quick: 100, full: 1000) {
                var session: Session?
                times.append(try elapsed { session = try orchestrator.createSession("one more") })
                try session?.close()
            }
            samples.append((count, times, []))
        }
        GrowthCost(
            run: run, scenario: .sessions,
            note: "without a floor: making a session is a record in shared memory, and no system call"
        ).add(samples, floorName: nil)
    }
}
