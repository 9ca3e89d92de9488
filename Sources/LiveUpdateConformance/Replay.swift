// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
package import LiveUpdateHandover

/// A difference between the outcome of a step and the expected outcome.
package struct Difference: Sendable {
    package let file: String
    package let line: Int
    package let scenario: String
    /// The number of the step, counted from 1.
    package let step: Int
    package let want: Outcome
    package let got: Outcome

    /// The difference in the form that the conformance README asks for.
    package var description: String {
        "\(file):\(line) \(scenario) step \(step): want \(want.json) got \(got.json)"
    }
}

/// Runs scenarios line by line.
package enum Replay {
    /// Runs one scenario to its first difference.
    ///
    /// - Parameters:
    ///   - scenario: the scenario.
    ///   - file: the name of the scenario's file, for the difference.
    ///   - line: the number of the scenario's line in the file.
    ///   - crash: the step, counted from 0, after which the core is dropped and rebuilt from the journal.
    ///   - options: the options of the arena.
    ///   - trace: gets every step's outcome.
    /// - Returns: nil when every step had the expected outcome.
    /// - Throws: the errors of the system.
    package static func run(
        _ scenario: Scenario, file: String, line: Int, crashingAfter crash: Int? = nil,
        _ options: Arena.Options = Arena.Options(), trace: ((Outcome) -> Void)? = nil
    ) throws -> Difference? {
        let run = try ScenarioRun(scenario, options)
        for step in 0..<scenario.stepCount {
            let (got, want) = run.run(step: step)
            trace?(got)
            if got != want {
                return Difference(
                    file: file, line: line, scenario: scenario.name, step: step + 1, want: want, got: got)
            }
            if step == crash { try run.crashAndRebuild() }
        }
        return nil
    }
}
