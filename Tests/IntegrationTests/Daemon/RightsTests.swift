// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import TestSupport
import Testing

/// The rights of luod's processes, as the kernel reports them and the status shows them.
@Suite(.requiresRoot) struct RightsTests {
    private static let kept: Set = ["cap_sys_admin", "cap_ipc_lock", "cap_sys_resource"]

    /// Additional rights of the keeper, which starts the gate of programs under a filter.
    private static let keptForGates: Set = ["cap_sys_ptrace", "cap_dac_override"]

    @Test("luod has few capabilities; the orchestrator has a filter, and gains no rights by execve") func confined()
        async throws
    {
        let daemon = try await RunningDaemon()
        let status = try daemon.connect().status()
        #expect(status.processes.map(\.name) == ["keeper", "orchestrator"])
        #expect(status.processes.map(\.process) == [daemon.keeper, status.orchestrator])
        #expect(Self.kept.union(Self.keptForGates).isSuperset(of: status.processes[0].capabilities))
        #expect(Self.kept.isSuperset(of: status.processes[1].capabilities))
        #expect(status.processes[1].hasNoNewPrivileges && status.processes[1].seccomp == "filter")
        // The kernel's report of the rights.
        let text = try String(contentsOfFile: "/proc/\(status.orchestrator)/status", encoding: .utf8)
        let effective = try #require(text.split(separator: "\n").first { $0.hasPrefix("CapEff:") })
        #expect(UInt64(effective.dropFirst(8), radix: 16) == 0, "none is effective before it is raised")
        #expect(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"))
    }

    @Test("Rights stay after updates, reloads and a keeper's death, which leaves one process") func later()
        async throws
    {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        for call in [Call.update, .reload] {
            #expect(try client.change(call) == nil)
            let orchestrator = try #require(try client.status().processes.last)
            #expect(orchestrator.seccomp == "filter" && Self.kept.isSuperset(of: orchestrator.capabilities))
        }
        daemon.killKeeper()
        try await eventually("the end of the keeper", within: 60) { try client.status().processes.count == 1 }
        #expect(try client.status().keeper == 0)
    }

    @Test("A gate for programs under a filter has two rights, and is replaced when it dies") func gate() async throws {
        let daemon = try await RunningDaemon()
        #expect(try await daemon.probe("exit", "0").status == 0)
        let client = try daemon.connect()
        let gate = try #require(try client.status().processes.last)
        #expect(gate.name == "gate" && Set(gate.capabilities) == Self.keptForGates)
        Glibc.kill(gate.process, SIGKILL)
        #expect(try await daemon.probe("exit", "0").status == 0)
        let next = try #require(try client.status().processes.last)
        #expect(next.name == "gate" && next.process != gate.process)
    }

    @Test("A luod of root has a higher priority, and so has the orchestrator after an update")
    func priority() async throws {
        let usual = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        #expect(try client.change(.update) == nil)
        for process in [daemon.keeper, try client.status().orchestrator] {
            #expect(getpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(process)) == (usual == 0 ? -10 : usual))
        }
    }

    @Test("An unconfined luod reports its rights") func unconfined() async throws {
        let daemon = try await RunningDaemon(["--unconfined"])
        let processes = try daemon.connect().status().processes
        let own = try ProcessRights(of: getpid())
        for process in processes {
            #expect(process.capabilities == own.capabilities)
            #expect(process.seccomp == "\(own.seccomp)" && process.hasNoNewPrivileges == own.hasNoNewPrivileges)
        }
    }
}
