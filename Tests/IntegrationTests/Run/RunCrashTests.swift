// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Programs under `luoctl run` while processes of luod stop or die.
@Suite struct RunCrashTests {
    enum Trouble: CaseIterable {
        case stopped, dead
    }

    @Test(
        "Other files are opened while the orchestrator is stopped, or dead; waiting calls go on after it",
        arguments: Trouble.allCases)
    func foreignOpens(trouble: Trouble) async throws {
        let daemon = try await RunningDaemon()
        let pipe = Pipe()
        let next = FileDescriptor(rawValue: pipe.fileHandleForReading.fileDescriptor)
        let program = try daemon.startProbe("foreign", inheriting: next)
        try await eventually("a program that runs", within: 60) { try program.outputSoFar.contains("ready") }
        let orchestrator = try daemon.connect().status().orchestrator
        if trouble == .dead {
            Glibc.kill(daemon.keeper, SIGSTOP)
            Glibc.kill(orchestrator, SIGKILL)
        } else {
            Glibc.kill(orchestrator, SIGSTOP)
        }
        pipe.fileHandleForWriting.write(Data([0]))
        try await eventually("opens of other files", within: 60) { try program.outputSoFar.contains("opened") }
        Glibc.kill(trouble == .dead ? daemon.keeper : orchestrator, SIGCONT)
        pipe.fileHandleForWriting.write(Data([0]))
        let ended = try await program.ended()
        #expect(ended.status == 0 && ended.lines.last == "ok", "\(ended)")
    }

    enum Victim: CaseIterable {
        case orchestrator, gate
    }

    @Test(
        "Processes of luod that die during calls: each call returns, and is done once",
        arguments: Victim.allCases, ["busy", "crowd"])
    func deaths(victim: Victim, scenario: String) async throws {
        let daemon = try await RunningDaemon()
        let program = try daemon.startProbe(scenario)
        var dots = 0
        for _ in 0..<30 {
            try await eventually("calls that go on", within: 60) {
                try program.outputSoFar.utf8.count > dots || program.hasEnded
            }
            guard !program.hasEnded else { break }
            dots = try program.outputSoFar.utf8.count
            let killed = victim == .gate ? daemon.gate : try daemon.connect().status().orchestrator
            if let killed { Glibc.kill(killed, SIGKILL) }
        }
        let output = try program.outputSoFar
        #expect(!program.hasEnded, "\(output)")
        program.kill()
        let client = try daemon.connect()
        try await eventually("the end of its sessions", within: 60) { try client.status().sessions.isEmpty }
        #expect(try await daemon.probe("life").status == 0, "the device is open to others")
    }

    @Test("A client that is killed during a call leaves nothing") func killedClients() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        for round in 0..<20 {
            let program = try daemon.startProbe("busy")
            try await eventually("calls that go on", within: 60) { try program.outputSoFar.utf8.count > round }
            program.kill()
            try await eventually("the end of its sessions", within: 60) { try client.status().sessions.isEmpty }
        }
        #expect(try await daemon.probe("life").status == 0)
    }

    @Test("A program that is killed inside a waiting call leaves no busy process") func killedInsideCall()
        async throws
    {
        let daemon = try await RunningDaemon()
        let program = try daemon.startProbe("busy")
        try await eventually("calls that go on", within: 60) { try program.outputSoFar.utf8.count > 1 }
        let orchestrator = try daemon.connect().status().orchestrator
        Glibc.kill(orchestrator, SIGSTOP)
        defer { Glibc.kill(orchestrator, SIGCONT) }
        var before = -1
        try await eventually("a call that waits", within: 60) {
            let now = try program.outputSoFar.utf8.count
            defer { before = now }
            usleep(50_000)
            return now == before
        }
        program.kill()
        let gate = try #require(daemon.gate)
        let used = try RunningDaemon.processorTime(of: gate)
        usleep(500_000)
        #expect(try RunningDaemon.processorTime(of: gate) - used < 20, "hundredths of a second, in 50")
    }

    @Test("A luod that ends reports the programs that it leaves, and nothing when none is left") func saysWhoIsLeft()
        async throws
    {
        let daemon = try await RunningDaemon()
        let program = try daemon.startProbe("busy")
        try await eventually("calls that go on", within: 60) { try program.outputSoFar.utf8.count > 1 }
        Glibc.kill(daemon.keeper, SIGTERM)
        try await eventually("the end of luod", within: 60) { daemon.processes.isEmpty }
        #expect(try daemon.log().contains("programs of 1 luoctl run are left"))
        program.kill()

        let other = try await RunningDaemon()
        let ended = try other.startProbe("busy")
        try await eventually("calls that go on", within: 60) { try ended.outputSoFar.utf8.count > 1 }
        // The keeper still has all descriptors, because no other process could release them.
        for process in other.processes where process != other.keeper { Glibc.kill(process, SIGSTOP) }
        ended.kill()
        Glibc.kill(other.keeper, SIGTERM)
        try await eventually("the end of luod", within: 60) { other.processes.isEmpty }
        #expect(try !other.log().contains("are left"))
    }

    @Test("A gate that dies after luod's file is gone is started again, too") func gone() async throws {
        let room = try TemporaryDirectory()
        let image = room.file("luod")
        try await install([Program.path("luod")], into: room.path)
        let daemon = try await RunningDaemon(image: image)
        let program = try daemon.startProbe("busy")
        try await eventually("calls that go on", within: 60) { try program.outputSoFar.utf8.count > 1 }
        try FileManager.default.removeItem(atPath: image)
        Glibc.kill(try #require(daemon.gate), SIGKILL)
        let before = try program.outputSoFar.utf8.count
        try await eventually("calls with another", within: 60) { try program.outputSoFar.utf8.count > before + 10 }
        program.kill()
        #expect(try await daemon.probe("life").status == 0)
    }

    @Test(
        "Without its keeper the gate goes on, and the next keeper replaces it",
        arguments: ["busy", "crowd"])
    func keeper(scenario: String) async throws {
        let daemon = try await RunningDaemon()
        let program = try daemon.startProbe(scenario)
        try await eventually("calls that go on", within: 60) { try program.outputSoFar.utf8.count > 1 }
        daemon.killKeeper()
        let before = try program.outputSoFar.utf8.count
        try await eventually("calls without a keeper", within: 60) { try program.outputSoFar.utf8.count > before + 10 }
        let refused = try await luoctl("run", "--state", daemon.state, "--", "/bin/true")
        #expect(refused.status == 1 && refused.errors.contains("keeper"), "\(refused)")
        try await daemon.start()
        let after = try program.outputSoFar.utf8.count
        try await eventually("calls with another", within: 60) { try program.outputSoFar.utf8.count > after + 10 }
        let output = try program.outputSoFar
        #expect(!program.hasEnded, "\(output)")
        #expect(daemon.gates.count == 1)
        program.kill()
        #expect(try await daemon.probe("life").status == 0)
    }
}

extension RunningDaemon {
    /// The process of the gate.
    var gate: pid_t? { gates.first }

    var gates: [pid_t] {
        processes.filter { process in
            let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
            return line?.hasPrefix("luod\0gate\0") == true
        }
    }
}
