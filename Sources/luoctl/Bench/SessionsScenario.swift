import LiveUpdate
// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore

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
