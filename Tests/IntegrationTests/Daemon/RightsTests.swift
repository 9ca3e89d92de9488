import Foundation
import Glibc
import LiveUpdateProtocol
import Platform
import TestSupport
import Testing

/// What luod's processes may still do, as the kernel says it and the status shows it.
@Suite(.requiresRoot) struct RightsTests {
    private static let kept: Set = ["cap_sys_admin", "cap_ipc_lock", "cap_sys_resource"]

    /// Of the keeper as well, which starts the gate of programs that run under a filter.
    private static let keptForGates: Set = ["cap_sys_ptrace", "cap_dac_override"]

    @Test("Few capabilities; the orchestrator has a filter, and gains nothing by execve") func confined()
        async throws
    {
        let daemon = try await RunningDaemon()
        let status = try daemon.connect().status()
        #expect(status.processes.map(\.name) == ["keeper", "orchestrator"])
        #expect(status.processes.map(\.process) == [daemon.keeper, status.orchestrator])
        #expect(Self.kept.union(Self.keptForGates).isSuperset(of: status.processes[0].capabilities))
        #expect(Self.kept.isSuperset(of: status.processes[1].capabilities))
        #expect(status.processes[1].hasNoNewPrivileges && status.processes[1].seccomp == "filter")
        // The kernel's own words.
        let text = try String(contentsOfFile: "/proc/\(status.orchestrator)/status", encoding: .utf8)
        let effective = try #require(text.split(separator: "\n").first { $0.hasPrefix("CapEff:") })
        #expect(UInt64(effective.dropFirst(8), radix: 16) == 0, "none is effective before it is raised")
        #expect(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"))
    }

    @Test("After updates, reloads and the death of a keeper, too; without one there is one process") func later()
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

    @Test("The gate of programs under a filter has two rights, and another after its death") func gate() async throws {
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

    @Test("Unconfined it says so") func unconfined() async throws {
        let daemon = try await RunningDaemon(["--unconfined"])
        let processes = try daemon.connect().status().processes
        let own = try ProcessRights(of: getpid())
        for process in processes {
            #expect(process.capabilities == own.capabilities)
            #expect(process.seccomp == "\(own.seccomp)" && process.hasNoNewPrivileges == own.hasNoNewPrivileges)
        }
    }
}
