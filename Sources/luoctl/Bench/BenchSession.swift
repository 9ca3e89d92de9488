import FoundationEssentials
// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import LiveUpdateCore
import LiveUpdatePlatform

/// One run of the benchmark, from the options to the document.
struct BenchSession {
    private let scenarios: [BenchScenario]
    private let run: BenchRun

    init(_ command: BenchCommand) throws {
        // The scenarios run in their own order, each once.
        scenarios = BenchScenario.allCases.filter { command.scenarios.isEmpty || command.scenarios.contains($0) }
        let free = try availableMemory()
        let most = command.quick ? UInt64(256 << 20) : min(free / 2, 4 << 30)
        run = BenchRun(
            isQuick: command.quick, memory: command.maxMemory ?? most, programs: try BenchPrograms(),
            processors: BenchProcessors(Processors.allowed))
        // Each of the 10,000 files needs a descriptor.
        DescriptorLimit.raise(to: 32 << 10)
    }

    func measure() throws -> BenchDocument {
        let machine = BenchMachine.current()
        let started = Date()
        try run.processors.measureHere()
        var noise = BenchNoise()
        let steps = scenarios.flatMap { $0.steps(run) }
        var progress = BenchProgress(steps)
        for step in steps {
            progress.begin(step)
            try run.perform(step)
            progress.end(step)
        }
        try run.processors.measureHere()
        return BenchDocument(
            command: ["luoctl"] + CommandLine.arguments.dropFirst(),
            started: started.ISO8601Format(),
            seconds: (Date().timeIntervalSince(started) * 10).rounded() / 10, machine: machine,
            warnings: noise.warnings(
                processors: machine.processors, governor: machine.governor, run.measurements),
            measurements: run.measurements, absent: run.absent,
            projections: BenchProjection.all(of: run.measurements), targets: BenchTarget.all(of: run.measurements))
    }
}
