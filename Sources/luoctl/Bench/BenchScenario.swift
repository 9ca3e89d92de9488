// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// The scenarios, by their names on the command line.
enum BenchScenario: String, CaseIterable, ExpressibleByArgument {
    case hugetlb, memfd, files, sessions, update, run, verify, compare

    /// The steps of the scenario, in order.
    func steps(_ run: BenchRun) -> [BenchStep] {
        switch self {
        case .hugetlb: HugetlbScenario(run).steps
        case .memfd: MemfdScenario(run).steps
        case .files: FilesScenario(run).steps
        case .sessions: SessionsScenario(run).steps
        case .update: UpdateScenario(run).steps
        case .run: RunScenario(run).steps
        case .verify: VerifyScenario(run).steps
        case .compare: CompareScenario(run).steps
        }
    }
}

/// A part of a scenario. The progress is updated between two steps.
struct BenchStep {
    let scenario: BenchScenario
    let title: String
    /// The expected duration, only for the progress.
    let seconds: Double
    let body: () throws -> Void
}
