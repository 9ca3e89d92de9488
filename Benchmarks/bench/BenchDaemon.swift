// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// A luod for the benchmark alone. luod ends, and its state is removed, with the benchmark, even if luo-bench is
/// killed.
final class BenchDaemon {
    let device: LiveUpdateDevice
    let state: String
    private let guardian: ChildProcess

    /// Starts luod and waits until it answers. All of its processes run on the measured processors.
    init(_ programs: BenchPrograms, on processors: BenchProcessors) throws {
        let state = "/dev/shm/luoctl-bench-\(getpid())-\(monotonicNanoseconds())"
        try processors.measureHere()
        let guardian = try BenchTool.shell(Self.script, [programs.daemon, state])
        try processors.waitHere()
        guard guardian.readLine() != nil, let device = try? LiveUpdateDevice.luod(state: FilePath(state)) else {
            guardian.finish()
            throw LiveUpdateError(
                .ioError, "\(programs.daemon) did not start", remedy: "its message on standard error says why")
        }
        self.guardian = guardian
        self.state = state
        self.device = device
    }

    deinit { guardian.finish() }

    /// The script that runs luod. Its arguments are luod and the state. It ends when its standard input is closed.
    private static let script = """
        trap '' INT
        mkdir -m 711 "$2"
        "$1" --state "$2" </dev/null & luod=$!
        read line
        kill $luod
        wait $luod
        rm -rf "$2"
        """

    /// The resident memory of luod's two processes, in bytes. Memory that they share counts twice.
    func resident() throws -> Double {
        let status = try LuodStatus.daemon(of: device)
        return try [status.keeper, status.orchestrator].reduce(0) { $0 + Double(try Self.resident($1)) }
    }

    private static func resident(_ process: CInt) throws -> UInt64 {
        let text = (try? String(contentsOfFile: "/proc/\(process)/smaps_rollup", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("Rss:") }
        guard let kilobytes = line?.split(separator: " ").dropFirst().first.flatMap({ UInt64($0) }) else {
            throw LiveUpdateError(
                .ioError, "/proc/\(process)/smaps_rollup has no Rss",
                remedy: "mount /proc; on a kernel without this file (CONFIG_PROC_PAGE_MONITOR), leave out the scenario")
        }
        return kilobytes << 10
    }
}
