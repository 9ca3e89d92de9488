// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
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
            command: ["luoctl", "bench"] + CommandLine.arguments.dropFirst(),
            started: started.ISO8601Format(),
            seconds: (Date().timeIntervalSince(started) * 10).rounded() / 10, machine: machine,
            warnings: noise.warnings(
                processors: machine.processors, governor: machine.governor, run.measurements),
            measurements: run.measurements, absent: run.absent,
            projections: BenchProjection.all(of: run.measurements), targets: BenchTarget.all(of: run.measurements))
    }
}

/// Shows the current measurement and the remaining time on standard error, if that is a terminal.
struct BenchProgress: ~Copyable {
    private let isShown = isatty(STDERR_FILENO) == 1
    private let total: Double
    private let start = monotonicNanoseconds()
    private var done = 0.0

    init(_ steps: [BenchStep]) { total = max(steps.reduce(0) { $0 + $1.seconds }, 0.1) }

    mutating func begin(_ step: BenchStep) {
        guard isShown else { return }
        let full = Int(done / total * 20)
        let bar = String(repeating: "#", count: full) + String(repeating: ".", count: 20 - full)
        write("\r\u{1B}[K[\(bar)] \(left) \(step.scenario.rawValue): \(step.title)")
    }

    mutating func end(_ step: BenchStep) { done = min(done + step.seconds, total) }

    /// The remaining time: an estimate at first, and later from the pace of the run.
    private var left: String {
        let passed = Double(monotonicNanoseconds() - start) / 1e9
        let seconds = done / total > 0.05 ? passed / done * (total - done) : total
        return seconds < 90 ? "\(Int(seconds.rounded(.up))) s left," : "\(Int((seconds / 60).rounded(.up))) min left,"
    }

    private func write(_ text: String) { _ = unsafe Glibc.write(STDERR_FILENO, text, text.utf8.count) }

    deinit {
        if isShown { write("\r\u{1B}[K") }
    }
}
