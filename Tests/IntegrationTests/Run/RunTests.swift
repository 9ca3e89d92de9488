// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Programs under `luoctl run`. RunProbe is written for the kernel's device, and does not know luod.
@Suite struct RunTests {
    @Test(
        "The device behaves as its documentation says",
        arguments: ["life", "order", "names", "answers", "opens", "threads", "many", "interrupted", "stolen"])
    func scenario(
        name: String
    )
        async throws
    {
        let daemon = try await RunningDaemon()
        let ended = try await daemon.probe(name)
        #expect(ended.status == 0 && ended.lines.last == "ok", "\(ended)")
        #expect(try daemon.connect().status().sessions.isEmpty, "what it held ended with it")
    }

    @Test("All paths that lead to the device open it, and other paths do not") func paths() async throws {
        let daemon = try await RunningDaemon()
        let directory = daemon.state + "/paths"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        let ended = try await daemon.probe("paths", directory)
        #expect(ended.status == 0, "\(ended)")
    }

    @Test(
        "A daemon's session travels over an update, and another program finds it, with files of each kind",
        .requiresRoot, .requiresHugePages(3)) func stages() async throws
    {
        let daemon = try await RunningDaemon()
        let first = try daemon.startProbe("first-stage", "kinds")
        try await eventually("a daemon that holds a session", within: 60) {
            try first.outputSoFar.hasPrefix("daemon ") && first.hasEnded
        }
        let process = try #require(pid_t(try first.outputSoFar.dropFirst(7).split(separator: "\n").first ?? ""))
        defer { Glibc.kill(process, SIGKILL) }
        let updated = try await luoctl("update", "--state", daemon.state)
        #expect(updated.status == 0, "\(updated)")
        Glibc.kill(process, SIGUSR1)
        try await eventually("what the old boot's program finds", within: 60) {
            try first.outputSoFar.split(separator: "\n").count > 1
        }
        let output = try first.outputSoFar
        #expect(output.hasSuffix("ok\n"), "\(output)")
        let second = try await daemon.probe("second-stage", "kinds")
        #expect(second.status == 0, "\(second)")
    }

    @Test("A state may be a relative path; children of the program find it") func relativeState() async throws {
        let room = try TemporaryDirectory()
        let script = """
            cd "$1" && { "$2" --state state >out & } && until grep -q ready out; do sleep 0.1; done
            "$3" run --state state -- sh -c '"$0" life && cd / && "$1" update' "$4" "$3"
            status=$?; kill %1; wait; exit $status
            """
        let ended = try await run(
            ["/bin/bash", "-c", script, "sh", room.path] + ["luod", "luoctl", "RunProbe"].map(Program.path))
        #expect(ended.status == 0 && ended.output.contains("blackout"), "\(ended)")
    }

    @Test("Exit code and signals are the program's own") func ends() async throws {
        let daemon = try await RunningDaemon()
        #expect(try await daemon.probe("exit", "42").status == 42)
        #expect(try await daemon.probe("signal", "\(SIGKILL)").status == nil)
        let none = try await luoctl("run", "--state", daemon.state, "--", "/nowhere/program")
        #expect(none.status == 127 && none.errors.contains("/nowhere/program"), "\(none)")
        let directory = try await luoctl("run", "--state", daemon.state, "--", "/")
        #expect(directory.status == 126, "\(directory)")
    }

    @Test("A Python program with only fcntl.ioctl keeps files over an update") func python() async throws {
        let daemon = try await RunningDaemon()
        let room = try TemporaryDirectory()
        let script = """
            mkfifo "$1/input"
            python3 "$2" keep s hello world <"$1/input" >"$1/kept" &
            exec 9>"$1/input"
            until grep -q kept "$1/kept"; do sleep 0.05; done
            "$3" update --state "$4" >"$1/update" && python3 "$2" fetch s 2
            """
        let client = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../Examples/python/liveupdate.py").path
        let luoctl = Program.path("luoctl")
        let ended = try await IntegrationTests.run(
            [luoctl, "run", "--state", daemon.state, "--", "/bin/sh", "-c", script, "sh", room.file(""), client]
                + [luoctl, daemon.state])
        #expect(ended.status == 0 && ended.lines == ["hello", "world"], "\(ended)")
    }

    @Test("A run inside a run is refused, because the outer run is enough") func nested() async throws {
        let daemon = try await RunningDaemon()
        let run = [Program.path("luoctl"), "run", "--state", daemon.state, "--"]
        let nested = try await IntegrationTests.run(run + run + ["/bin/true"])
        #expect(nested.status == 1 && nested.errors.contains("already"), "\(nested)")
    }
}

extension RunningDaemon {
    func startProbe(_ arguments: String..., inheriting: FileDescriptor? = nil) throws -> Program {
        try Program(command(arguments), inheriting: inheriting)
    }

    /// Runs a scenario to its end.
    func probe(_ arguments: String...) async throws -> Ended { try await run(command(arguments)) }

    private func command(_ arguments: [String]) -> [String] {
        [Program.path("luoctl"), "run", "--state", state, "--", Program.path("RunProbe")] + arguments
    }
}
