public import Handover
import LiveUpdate

/// One difference between what a step gave and what it should give.
public struct Difference: Sendable {
    public let file: String
    public let line: Int
    public let scenario: String
    /// Counted from 1.
    public let step: Int
    public let want: Outcome
    public let got: Outcome

    /// As the conformance README wants it printed.
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
    /// - Returns: nil when every step gave what it should.
    /// - Throws: what the system refuses.
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
