// SPDX-License-Identifier: Apache-2.0
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
