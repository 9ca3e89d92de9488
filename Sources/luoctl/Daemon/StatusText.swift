// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateKernel
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The status, for people: the verdict, the sums, luod itself, and one line for each session.
struct StatusText {
    private let status: LuodStatus
    private let verdict: StatusVerdict
    private let kernel: KernelOrchestrator
    private let kernelUpdate: KernelUpdateReport?
    private let showsProcesses: Bool
    private let users = AccountFile(at: "/etc/passwd")

    init(
        _ status: LuodStatus, _ verdict: StatusVerdict, _ kernel: KernelOrchestrator,
        _ kernelUpdate: KernelUpdateReport?, showsProcesses: Bool
    ) {
        self.status = status
        self.verdict = verdict
        self.kernel = kernel
        self.kernelUpdate = kernelUpdate
        self.showsProcesses = showsProcesses
    }

    var text: String {
        let totals = status.refusal == nil ? [StatusTotals(status.sessions).text] : []
        let processes = showsProcesses ? ["\n\(rights)"] : []
        return (verdict.lines + totals + [daemon] + ready + [kernel.text] + lastKernelUpdate + processes + tables)
            .joined(separator: "\n")
    }

    private var daemon: String {
        let keeper = status.keeper == 0 ? "no keeper" : "keeper \(status.keeper)"
        let blackout = status.lastBlackout.map { ", last blackout \(UpdateReport.milliseconds($0))" } ?? ""
        let arena = "arena: \(ByteCount.text(status.arenaUsed)) of \(ByteCount.text(status.arenaSize)) in use"
        return "boot \(status.boot), \(keeper), orchestrator \(status.orchestrator)\(blackout), \(arena)"
    }

    /// The image that a load has made ready.
    private var ready: [String] {
        guard let ready = status.ready, ready.failure == nil else { return [] }
        let process = ready.process == 0 ? "" : ", process \(ready.process)"
        return ["ready: \(ready.words)\(process), since \(StatusTime.text(ready.since))"]
    }

    private var lastKernelUpdate: [String] {
        kernelUpdate.map { ["kernel update: \(KernelUpdateText($0).line)"] } ?? []
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
        return table.text
    }

    private var tables: [String] {
        guard status.refusal == nil else { return [] }
        guard !status.sessions.isEmpty else { return ["\nno sessions"] }
        return [sessions, problems, memory, flbs].compactMap { $0 }.map { "\n\($0)" }
    }

    /// One line for each session. The sessions with the most memory are the first.
    private var sessions: String {
        var table = Table(["session", "user", "direction", "state", "holder", "since", "files", "allocated", "size"])
        let sorted = status.sessions.map { ($0, StatusTotals(CollectionOfOne($0))) }.sorted {
            ($1.1.allocated, $0.0.owner, $0.0.name) < ($0.1.allocated, $1.0.owner, $1.0.name)
        }
        for (session, totals) in sorted {
            table.add([
                session.name.shown, userName(session.owner), session.direction.shown, session.state,
                session.holder?.words ?? "-", session.since.map(StatusTime.text) ?? "-",
                "\(session.files.count)" + (totals.lost == 0 ? "" : ", \(totals.lost) lost"),
                ByteCount.text(totals.allocated), ByteCount.text(totals.apparent),
            ])
        }
        return table.text
    }

    private func userName(_ number: UInt32) -> String { users.name(of: number)?.shown ?? "\(number)" }

    /// The files that cannot be frozen now, or that the last update left out.
    private var problems: String? {
        let lines = status.problems()
        guard !lines.isEmpty else { return nil }
        return (["problems:"] + lines.map { "  \(Style.bad($0.text.shown))" }).joined(separator: "\n")
    }

    /// The memory of users' files, if users have limits on it.
    private var memory: String? {
        guard let memory = status.memory, !memory.isEmpty else { return nil }
        var table = Table(["user", "pages of", "memory", "limit"])
        for one in memory {
            let limit = one.limit.map(ByteCount.text) ?? "none"
            table.add([
                userName(one.user), ByteCount.text(one.pageSize), ByteCount.text(one.bytes),
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

/// The files of one session, for people: `luoctl status SESSION`.
struct SessionStatusText {
    private let sessions: [LuodStatus.Session]

    /// Shows sessions of one name: of several users, or an incoming and an outgoing one.
    init(_ sessions: [LuodStatus.Session]) { self.sessions = sessions }

    var text: String { sessions.map(Self.text).joined(separator: "\n\n") }

    private static func text(_ session: LuodStatus.Session) -> String {
        let holder = session.holder.map { ", held by \($0.words)" } ?? ""
        let title =
            "session \(session.name.shown) of user \(session.owner), \(session.direction.shown), \(session.state)\(holder)"
        var table = Table(["token", "handler", "inode", "size", "allocated", "holes", "state"])
        for file in session.files { table.add(row(file, of: session)) }
        let files = session.files.isEmpty ? ["no files"] : [StatusTotals(CollectionOfOne(session)).text, table.text]
        return ([title] + making(of: session) + files + locks(of: session)).joined(separator: "\n")
    }

    private static func making(of session: LuodStatus.Session) -> [String] {
        guard let since = session.since else { return [] }
        let maker = session.maker.map { ", by \($0.words)" } ?? ""
        return ["made \(StatusTime.text(since))\(maker)"]
    }

    private static func row(_ file: LuodStatus.File, of session: LuodStatus.Session) -> [String] {
        let holes = file.size.map { $0 - min($0, file.allocated ?? 0) }
        return [
            file.token.shown, file.compatible.shown, file.inode.map { "\($0)" } ?? "-",
            file.size.map(ByteCount.text) ?? "-", file.allocated.map(ByteCount.text) ?? "-",
            holes.map(ByteCount.text) ?? "-", state(of: file, in: session),
        ]
    }

    private static func state(of file: LuodStatus.File, in session: LuodStatus.Session) -> String {
        if file.isLost { return Style.bad("lost") }
        if let problem = file.problem { return Style.bad(problem.shown) }
        switch file.retrieved {
        case 0: return session.direction == "incoming" ? "not yet retrieved" : "preserved"
        case 1: return "retrieved"
        default: return Style.bad("retrieve failed: \(Errno(rawValue: 0 &- file.retrieved).symbol)")
        }
    }

    /// The locks of held files. A program that wants such a lock waits until the file is released.
    private static func locks(of session: LuodStatus.Session) -> [String] {
        let lines = session.files.compactMap { file in
            file.locks.map { "  token \(file.token.shown): \($0.joined(separator: ", ").shown)" }
        }
        return lines.isEmpty ? [] : ["locks of held files:"] + lines
    }
}

/// Times in the status, for people.
enum StatusTime {
    /// A time of CLOCK_REALTIME in nanoseconds, as ISO 8601 in UTC without fractions of a second.
    static func text(_ nanoseconds: UInt64) -> String {
        String(wallClockText(Int64(clamping: nanoseconds)).prefix { $0 != "." }) + "Z"
    }
}

extension LuodStatus.Client {
    /// The process and its command, for people.
    var words: String { command.isEmpty ? "\(process)" : "\(process) (\(command.shown))" }
}

extension LuodStatus.Ready {
    /// The image and its version, for people.
    var words: String {
        let path = image.isEmpty ? "the image that runs" : image.shown
        return path + (version.map { " version \($0.shown)" } ?? "")
    }
}
