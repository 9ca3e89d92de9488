import LiveUpdateCore
// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateHandover

/// A difference between the outcome of a step and the expected outcome.
public struct Difference: Sendable {
    public let file: String
    public let line: Int
    public let scenario: String
    /// The number of the step, counted from 1.
    public let step: Int
    public let want: Outcome
    public let got: Outcome

    /// The difference in the form that the conformance README asks for.
    public var description: String {
        "\(file):\(line) \(scenario) step \(step): want \(want.json) got \(got.json)"
    }
}

/// Runs scenarios line by line.
public enum Replay {
    /// Runs one scenario to its first difference.
    ///
    /// - Parameters:
    ///   - crashingAfter: the step, counted from 0, after which the core is dropped and rebuilt from the journal.
    ///   - trace: gets every step's outcome.
    /// - Returns: nil when every step had the expected outcome.
    /// - Throws: the errors of the system.
    public static func run(
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
