// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateBenchReport
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Measures the cost of `luoctl run` for a program that uses /dev/liveupdate: its requests, and its opens of other
/// files.
struct RunScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        [run.processors, run.processors.everywhere].compactMap { $0 }.map { processors in
            let count = processors.measured.count
            let title = "calls of a program, on \(counted(count, "processor"))"
            return BenchStep(scenario: .run, title: title, seconds: run.isQuick ? 1 : 3) {
                guard geteuid() == 0 else {
                    return run.miss(
                        .run, "luoctl run", "only root may look into every program", remedy: "run it as root")
                }
                try add(try measure(on: processors), UInt64(count))
            }
        }
    }

    /// All times in nanoseconds.
    private struct Times {
        var notifications: [Double] = []
        /// Notifications that a third process answers.
        var relayed: [Double] = []
        /// The additional time of an open under `luoctl run`.
        var opens: [Double] = []
        var names: [Double] = []
        var preserves: [Double] = []
    }

    private func measure(on processors: BenchProcessors) throws -> Times {
        let daemon = try BenchDaemon(run.programs, on: processors)
        try processors.measureHere()
        let floor = try FloorProcess(.notify, [], in: run.programs)
        let plain = try FloorProcess(.caller, [], in: run.programs)
        let gated = try ChildProcess.start(
            ProgramImage(
                path: FilePath(run.programs.luoctl),
                arguments: [
                    "luoctl", "run", "--state", daemon.state, "--", run.programs.path(.caller), "calls",
                ]))
        defer { gated.finish() }
        try processors.waitHere()
        var all = Times()
        // The first round does not count, because it reads programs from the disk.
        for round in 0...run.rounds(quick: 20, full: 200) {
            let notification = try floor.round(count: 2)
            let open = try plain.round()[0]
            try gated.write(line: "")
            let times = try gated.times(of: .caller, count: 3)
            if round == 0 { continue }
            all.notifications.append(notification[0])
            all.relayed.append(notification[1])
            all.opens.append(max(times[0] - open, 0))
            all.names.append(times[1])
            all.preserves.append(times[2])
        }
        return all
    }

    private func add(_ times: Times, _ processors: UInt64) throws {
        func add(_ name: String, _ ours: [Double], limit: Double?, note: String, relayed: Bool = false) {
            run.add(
                BenchMeasurement(
                    scenario: "run", name: name, parameters: ["processors": processors],
                    ours: BenchDistribution(ours),
                    floor: BenchDistribution(relayed ? times.relayed : times.notifications),
                    floorName: relayed
                        ? "C: the same way, with the same system calls"
                        : "C: a system call that another process is notified of and answers",
                    ratioLimit: limit, note: note))
        }
        add("another file's open", times.opens, limit: 3, note: "the time beyond that without luoctl run")
        add("GET_NAME", times.names, limit: 3, note: "by way of the gate and the orchestrator, and back")
        add("PRESERVE_FD", times.preserves, limit: 8, note: "a memfd with one page")
        add(
            "GET_NAME, to C that goes the same way", times.names, limit: nil, note: "what is left is ours",
            relayed: true)
    }
}
