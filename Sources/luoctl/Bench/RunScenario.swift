import BenchReport
import Glibc
import LiveUpdate
import Platform

/// What `luoctl run` costs a program that was written for /dev/liveupdate: its own calls, and its opens of other files.
struct RunScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        [
            BenchStep(scenario: .run, title: "calls of a program", seconds: run.isQuick ? 1 : 3) {
                guard geteuid() == 0 else {
                    return run.miss(
                        .run, "luoctl run", "only root may look into every program", remedy: "run it as root")
                }
                try measure()
            }
        ]
    }

    private func measure() throws {
        let daemon = try BenchDaemon(run.programs, on: run.processors)
        try run.processors.measureHere()
        let floor = try FloorProcess(.notify, [], in: run.programs)
        let plain = try FloorProcess(.caller, [], in: run.programs)
        let gated = try ChildProcess.start(
            ProgramImage(
                path: "/proc/self/exe",
                arguments: [
                    "luoctl", "run", "--state", daemon.state, "--", run.programs.path(.caller), "calls",
                ]))
        defer { gated.finish() }
        try run.processors.waitHere()
        var (opens, names, preserves, notifications): ([Double], [Double], [Double], [Double]) = ([], [], [], [])
        // The first round has what comes from the disk.
        for round in 0...run.rounds(quick: 20, full: 200) {
            let notification = try floor.round()[0]
            let open = try plain.round()[0]
            try gated.write(line: "")
            let times = try gated.times(of: .caller, count: 3)
            if round == 0 { continue }
            notifications.append(notification)
            opens.append(max(times[0] - open, 0))
            names.append(times[1])
            preserves.append(times[2])
        }
        let of = BenchDistribution(notifications)
        add("another file's open", opens, of, limit: 3, note: "what it takes more than without luoctl run")
        add("GET_NAME", names, of, limit: 3, note: "by way of the gate and the orchestrator, and back")
        add("PRESERVE_FD", preserves, of, limit: 8, note: "a memfd with one page")
    }

    private func add(_ name: String, _ ours: [Double], _ floor: BenchDistribution, limit: Double, note: String) {
        run.add(
            BenchMeasurement(
                scenario: "run", name: name, parameters: [:], ours: BenchDistribution(ours), floor: floor,
                floorName: "C: a system call that another process is notified of and answers", ratioLimit: limit,
                note: note))
    }
}
