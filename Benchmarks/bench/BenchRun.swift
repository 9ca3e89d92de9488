// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateBenchReport
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The state that the scenarios of one run share: options, programs and results.
final class BenchRun {
    let isQuick: Bool
    /// The bytes that the files of a scenario may take together.
    let memory: UInt64
    let programs: BenchPrograms
    let processors: BenchProcessors

    private(set) var measurements: [BenchMeasurement] = []
    private(set) var absent: [BenchAbsence] = []

    init(isQuick: Bool, memory: UInt64, programs: BenchPrograms, processors: BenchProcessors) {
        self.isQuick = isQuick
        self.memory = memory
        self.programs = programs
        self.processors = processors
    }

    func rounds(quick: Int, full: Int) -> Int { isQuick ? quick : full }

    /// Powers of four from 64 MiB up to the available memory.
    var sizes: [UInt64] {
        var sizes: [UInt64] = []
        var size: UInt64 = 64 << 20
        while size <= memory {
            sizes.append(size)
            size *= 4
        }
        return sizes
    }

    func add(_ measurement: BenchMeasurement) { measurements.append(measurement) }

    func miss(_ scenario: BenchScenario, _ name: String, _ reason: String, remedy: String) {
        let absence = BenchAbsence(scenario: scenario.rawValue, name: name, reason: reason, remedy: remedy)
        if !absent.contains(absence) { absent.append(absence) }
    }

    /// Performs a step. If the step fails, its result is absent and the other steps still run.
    func perform(_ step: BenchStep) throws {
        func miss(_ reason: String, _ remedy: String) { self.miss(step.scenario, step.title, reason, remedy: remedy) }
        do {
            try step.body()
        } catch let error as LiveUpdateError {
            miss(error.reason, error.remedy ?? "look at \(error.errno)")
        } catch let error as ArenaError {
            miss("\(error)", LiveUpdateError(error).remedy ?? "look at \(error.errno)")
        } catch let error as SystemCallError {
            miss("\(error)", LiveUpdateError(error.errno, "").remedy ?? "try again")
        }
    }
}

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
