// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import TestSupport
import Testing

/// `luoctl run` without --state: a private luod for one program.
@Suite struct PrivateRunTests {
    /// A directory for the private state. luod removes the files that it makes there.
    private final class Place {
        private let directory: TemporaryDirectory

        init() throws { directory = try TemporaryDirectory() }

        var path: String { directory.path }
        var isEmpty: Bool { (try? directory.names.isEmpty) ?? false }

        func start(_ arguments: [String], _ options: [String] = []) throws -> Program {
            try Program(
                [Program.path("luoctl"), "run"] + options + ["--"] + arguments,
                // An empty LUO_STATE is as none, for luoctl and for the private luod.
                environment: ["TMPDIR=\(path)", "LUO_STATE="])
        }

        func run(_ arguments: String...) async throws -> Ended { try await start(arguments).ended() }
    }

    @Test("luod is found in sbin beside luoctl's bin, also when PATH does not name it") func installed() async throws {
        let place = try Place()
        let prefix = try TemporaryDirectory()
        for (name, directory) in [("luoctl", "bin"), ("luod", "sbin")] {
            try FileManager.default.createDirectory(atPath: prefix.file(directory), withIntermediateDirectories: false)
            try await install([Program.path(name)], into: prefix.file(directory))
        }
        let program = try Program(
            [prefix.file("bin/luoctl"), "run", "--", Program.path("RunProbe"), "life"],
            environment: ["TMPDIR=\(place.path)", "PATH=/bin"])
        let ended = try await program.ended()
        #expect(ended.status == 0 && ended.lines.last == "ok", "\(ended)")
        try await eventually("the end of the state", within: 60) { place.isEmpty }
    }

    @Test("The private luod begins and ends with its program, however that ends") func ends() async throws {
        let place = try Place()
        let probe = Program.path("RunProbe")
        let ended = try await place.run(probe, "life")
        #expect(ended.status == 0 && ended.lines.last == "ok", "\(ended)")
        #expect(try await place.run(probe, "exit", "3").status == 3)
        #expect(try await place.run(probe, "signal", "\(SIGKILL)").status == nil)
        #expect(try await place.run("/nowhere").status == 127)
        try await eventually("the end of the state", within: 60) { place.isEmpty }
    }

    @Test("The private luod ends with its program, also when its keeper was killed") func withoutKeeper() async throws {
        let place = try Place()
        let program = try place.start([Program.path("RunProbe"), "busy"])
        try await eventually("calls that go on", within: 60) { try program.outputSoFar.utf8.count > 1 }
        let name = try #require(FileManager.default.contentsOfDirectory(atPath: place.path).first)
        let status = try await IntegrationTests.run(
            [Program.path("luoctl"), "status", "--json", "--state", "\(place.path)/\(name)"])
        let processes = try JSONDecoder().decode(Processes.self, from: Data(status.output.utf8)).processes
        try #require(processes.map(\.name) == ["keeper", "orchestrator", "gate"], "\(status)")
        Glibc.kill(processes[0].process, SIGKILL)
        let before = try program.outputSoFar.utf8.count
        try await eventually("calls without it", within: 60) { try program.outputSoFar.utf8.count > before + 10 }
        program.kill()
        try await eventually("the end of the state", within: 60) { place.isEmpty }
        try await eventually("the end of luod", within: 60) { processes.allSatisfy { hasEnded($0.process) } }
    }

    private struct Processes: Decodable {
        struct One: Decodable {
            let name: String
            let process: pid_t
        }
        let processes: [One]
    }

    /// Whether a process has ended. A zombie has ended, too.
    private func hasEnded(_ process: pid_t) -> Bool {
        guard let stat = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return true }
        return stat.split(separator: ")").last?.hasPrefix(" Z") == true
    }

    @Test("Arguments and variables are passed on byte for byte") func bytes() async throws {
        let place = try Place()
        let script = """
            export ODD="$(printf '\\377\\376')"
            exec "$0" run -- /bin/sh -c 'printf "%s|%s|%s" "$ODD" "$0" "$1" | od -An -tx1' "$(printf 'a\\375')" "$(printf '\\374b')"
            """
        let ended = try await IntegrationTests.run(
            ["/bin/sh", "-c", script, Program.path("luoctl")], environment: ["TMPDIR=\(place.path)"])
        #expect(ended.lines == [" ff fe 7c 61 fd 7c fc 62"], "\(ended)")
        try await eventually("the end of the state", within: 60) { place.isEmpty }
    }

    @Test("The private luod ends with the last process, and not before; children of the program find it")
    func daemons() async throws {
        let place = try Place()
        let script = "\"$0\" first-stage; sleep 1000 & echo \"sleep $!\"; \"$1\" update"
        let program = try place.start(["/bin/sh", "-c", script, Program.path("RunProbe"), Program.path("luoctl")])
        #expect(try await program.ended().status == 0)
        // The daemon is a child of the program that has ended: it prints its line when it comes to it.
        func processes() throws -> [pid_t] {
            let words = try program.outputSoFar.split { $0 == " " || $0 == "\n" }.map(String.init)
            return ["daemon", "sleep"].compactMap { name in words.firstIndex(of: name).flatMap { pid_t(words[$0 + 1]) }
            }
        }
        try await eventually("the lines of both processes", within: 60) { try processes().count == 2 }
        let processes = try processes()
        defer { for process in processes { Glibc.kill(process, SIGKILL) } }
        #expect(!place.isEmpty)
        Glibc.kill(processes[1], SIGKILL)
        Glibc.kill(processes[0], SIGUSR1)
        try await eventually("a luod that answers", within: 60) { try program.outputSoFar.hasSuffix("ok\n") }
        Glibc.kill(processes[0], SIGKILL)
        try await eventually("the end of the state", within: 60) { place.isEmpty }
    }

    // With a value above 0 a process may look only into its own children.
    private static let mayTrace = ["0", nil].contains(
        (try? String(contentsOfFile: "/proc/sys/kernel/yama/ptrace_scope", encoding: .utf8))?.prefix(1))

    @Test(
        "Without root the private luod serves all programs of its user", .requiresRoot,
        .enabled(if: mayTrace, "kernel.yama.ptrace_scope is above 0"), arguments: ["life", "order", "threads"])
    func nobody(scenario: String) async throws {
        let place = try Place()
        unsafe chmod(place.path, 0o777)
        let ended = try await runAsNobody(
            ["luoctl", "luod", "RunProbe"], environment: ["TMPDIR=\(place.path)"]
        ) { ["run", "--", "\($0)/RunProbe", scenario] }
        #expect(ended.status == 0 && ended.lines.last == "ok", "\(ended)")
        try await eventually("the end of the state", within: 60) { place.isEmpty }
    }

    @Test("If luod may not look into a program, luoctl run says so, and runs nothing", .requiresRoot) func untraceable()
        async throws
    {
        let place = try Place()
        let ended = try await run(
            [
                "/usr/bin/setpriv", "--bounding-set", "-sys_ptrace", Program.path("luoctl"), "run", "--", "/bin/sh",
                "-c",
                "echo began",
            ], environment: ["TMPDIR=\(place.path)"])
        #expect(ended.status == 77 && ended.errors.contains("CAP_SYS_PTRACE") && ended.output.isEmpty, "\(ended)")
        try await eventually("the end of the state", within: 60) { place.isEmpty }
    }

    @Test("Inside a service the private luod sends the manager nothing, and the program gets the manager's variables")
    func insideService() async throws {
        let place = try Place()
        let manager = try ServiceManager()
        manager.start()
        let file = try MemoryFile(bytes: nativeBytes(0x1234_5678))
        let script = """
            export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=name WATCHDOG_PID=$$ WATCHDOG_USEC=1000000
            exec "$0" run -- /bin/sh -c '
                test "$LISTEN_PID" = $$ && test "$WATCHDOG_PID" = $$ && echo process
                echo "$LISTEN_FDS $LISTEN_FDNAMES $WATCHDOG_USEC $NOTIFY_SOCKET"
                od -An -tx4 -N4 <&3
                for process in /proc/[0-9]*; do
                    tr "\\0" "\\n" 2>/dev/null <$process/cmdline | grep -qxF "${LUO_STATE:?}" || continue
                    test $process = /proc/$$ && continue
                    tr "\\0" "\\n" <$process/environ | grep -E "^(NOTIFY_SOCKET|WATCHDOG_|LISTEN_)" && echo found in $process
                done
                echo end'
            """
        let ended = try await run(
            ["/bin/sh", "-c", script, Program.path("luoctl")],
            environment: ["TMPDIR=\(place.path)"] + manager.environment, inheriting: file.descriptor)
        #expect(ended.lines == ["process", "1 name 1000000 \(manager.path)", " 12345678", "end"], "\(ended)")
        try await eventually("the end of the state", within: 60) { place.isEmpty }
        #expect(manager.lines.isEmpty)
    }

    @Test("Closed standard descriptors are closed in the program") func closed() async throws {
        let place = try Place()
        let script = "exec \"$0\" run -- /bin/sh -c 'test ! -e /proc/self/fd/0 && echo closed' <&-"
        let ended = try await run(
            ["/bin/sh", "-c", script, Program.path("luoctl")], environment: ["TMPDIR=\(place.path)"])
        #expect(ended.lines == ["closed"], "\(ended)")
    }

    @Test("Older kernels are emulated", arguments: ["7.0", "7.2"]) func kernels(kernel: String) async throws {
        let place = try Place()
        let ended = try await place.start([Program.path("RunProbe"), "kernel", kernel], ["--as-kernel", kernel]).ended()
        #expect(ended.status == 0, "\(ended)")
        #expect(try await place.start(["/bin/true"], ["--as-kernel", "6.1"]).ended().status == 64)
        let running = ["--as-kernel", kernel, "--state", place.path]
        #expect(try await place.start(["/bin/true"], running).ended().status == 64)
    }
}
