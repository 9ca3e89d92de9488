// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateKernel
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The status, for people.
struct StatusText {
    private let status: LuodStatus
    private let kernel: KernelOrchestrator
    private let kernelUpdate: KernelUpdateReport?

    init(_ status: LuodStatus, _ kernel: KernelOrchestrator, _ kernelUpdate: KernelUpdateReport?) {
        self.status = status
        self.kernel = kernel
        self.kernelUpdate = kernelUpdate
    }

    var text: String {
        (refusal + [processes, arena, kernel.text] + lastKernelUpdate + missing + [rights] + tables).joined(
            separator: "\n")
    }

    private var refusal: [String] {
        status.refusal.map { [Style.bad("luod cannot read its state, and serves only root: \($0)")] } ?? []
    }

    private var processes: String {
        let keeper =
            status.keeper == 0
            ? Style.bad("its keeper has died: start luod on this state again")
            : !status.keeperAnswers
                ? Style.bad("keeper \(status.keeper) does not answer") : "keeper \(status.keeper)"
        let blackout = status.lastBlackout.map { ", last blackout \(UpdateReport.milliseconds($0))" } ?? ""
        return "boot \(status.boot), \(keeper), orchestrator \(status.orchestrator)\(blackout)"
    }

    private var arena: String {
        "arena: \(ByteCount.text(status.arenaUsed)) of \(ByteCount.text(status.arenaSize)) in use"
    }

    private var lastKernelUpdate: [String] {
        kernelUpdate.map { ["kernel update: \(KernelUpdateText($0).line)"] } ?? []
    }

    private var missing: [String] {
        (status.missing ?? []).map { Style.bad("persistent memory is missing: \($0.shown)") }
    }

    /// The rights of each process, in the kernel's words.
    private var rights: String {
        var table = Table(["process", "number", "no new privileges", "seccomp", "capabilities left"])
        for process in status.processes {
            let capabilities = process.capabilities.joined(separator: " ")
            table.add([
                process.name.shown, "\(process.process)", process.hasNoNewPrivileges ? "yes" : "no",
                process.seccomp.shown, capabilities.isEmpty ? "none" : capabilities.shown,
            ])
        }
        return "\n\(table.text)"
    }

    private var tables: [String] {
        guard status.refusal == nil else { return [] }
        guard !status.sessions.isEmpty else { return ["\nno sessions"] }
        return [sessions, files, problems, locks, memory, flbs].compactMap { $0 }.map { "\n\($0)" }
    }

    private var sessions: String {
        var table = Table(["session", "user", "direction", "holder", "files"])
        for session in status.sessions {
            table.add([
                session.name.shown, "\(session.owner)", session.direction.shown, session.holder,
                "\(session.files.count)",
            ])
        }
        return table.text
    }

    private var files: String? {
        var table = Table(["session", "token", "handler", "size", "retrieved"])
        for session in status.sessions {
            for file in session.files { table.add(Self.row(file, of: session)) }
        }
        return status.sessions.allSatisfy(\.files.isEmpty) ? nil : table.text
    }

    private static func row(_ file: LuodStatus.File, of session: LuodStatus.Session) -> [String] {
        let retrieved =
            switch file.retrieved {
            case 0: session.direction == "incoming" ? "not yet" : "-"
            case 1: "yes"
            default: "failed: \(Errno(rawValue: 0 &- file.retrieved).symbol)"
            }
        return [
            session.name.shown, file.token.shown, file.compatible.shown, file.size.map(ByteCount.text) ?? "lost",
            retrieved,
        ]
    }

    /// The files that cannot be frozen now, or that the last update left out.
    private var problems: String? {
        let lines = status.problems()
        guard !lines.isEmpty else { return nil }
        return (["problems:"] + lines.map { "  \(Style.bad($0.text.shown))" }).joined(separator: "\n")
    }

    /// The locks of held files. A program that wants such a lock waits until the file is released.
    private var locks: String? {
        let lines = status.sessions.flatMap { session in
            session.files.compactMap { file in
                file.locks.map {
                    "  \(session.name.shown), token \(file.token.shown): \($0.joined(separator: ", ").shown)"
                }
            }
        }
        return lines.isEmpty ? nil : (["locks of held files:"] + lines).joined(separator: "\n")
    }

    /// The memory of users' files, if users have limits on it.
    private var memory: String? {
        guard let memory = status.memory, !memory.isEmpty else { return nil }
        var table = Table(["user", "pages of", "memory", "limit"])
        for one in memory {
            let limit = one.limit.map(ByteCount.text) ?? "none"
            table.add([
                "\(one.user)", ByteCount.text(one.pageSize), ByteCount.text(one.bytes),
                one.isOver ? Style.bad("\(limit): no further files") : limit,
            ])
        }
        return table.text
    }

    private var flbs: String? {
        guard !status.flbs.isEmpty else { return nil }
        var table = Table(["shared state", "direction", "files"])
        for flb in status.flbs { table.add([flb.compatible.shown, flb.direction.shown, "\(flb.count)"]) }
        return table.text
    }
}
