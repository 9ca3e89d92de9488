// SPDX-License-Identifier: Apache-2.0
import LiveUpdateConformance
import LiveUpdateCore
import TestSupport
import Testing

/// A core that is dropped after a step and made again from the journal gives the same answers to the rest of a
/// scenario.
@Suite struct CrashTests {
    @Test func namedScenariosAfterEveryStep() throws {
        for line in Vectors.named { try crashAfterEveryStep(line) }
    }

    @Test func randomScenariosAfterEveryStep() throws {
        let seed = announcedSeed("crashes in random scenarios")
        var generator = SeededGenerator(seed: seed)
        for line in Vectors.random.shuffled(using: &generator).prefix(Scale.count(100)) {
            try crashAfterEveryStep(line)
        }
    }

    private func crashAfterEveryStep(_ line: Vectors.Line) throws {
        for step in stride(from: 0, to: line.scenario.stepCount, by: Scale.stride) {
            let difference = try Replay.run(
                line.scenario, file: line.file, line: line.number, crashingAfter: step)
            if let difference { Issue.record("dropped after step \(step + 1): \(difference.description)") }
        }
    }

    @Test("A core is dropped after each step of one run")
    func afterAllSteps() throws {
        for line in Vectors.named + Vectors.random {
            let run = try ScenarioRun(line.scenario)
            for step in 0..<line.scenario.stepCount {
                let (got, want) = run.run(step: step)
                if got != want {
                    Issue.record("\(line.scenario.name) step \(step + 1): want \(want.json) got \(got.json)")
                    break
                }
                try run.crashAndRebuild()
            }
        }
    }
}
