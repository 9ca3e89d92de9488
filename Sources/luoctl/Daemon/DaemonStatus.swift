// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDevice
import LiveUpdateKernel
import LiveUpdatePlatform
import LiveUpdateProtocol

/// `luoctl status --json`
struct DaemonStatusReport: Encodable {
    private let status: LuodStatus
    private let verdict: StatusVerdict
    private let kernel: KernelOrchestrator
    private let kernelUpdate: KernelUpdateReport?

    init(
        _ status: LuodStatus, _ verdict: StatusVerdict, _ kernel: KernelOrchestrator,
        _ kernelUpdate: KernelUpdateReport?
    ) {
        self.status = status
        self.verdict = verdict
        self.kernel = kernel
        self.kernelUpdate = kernelUpdate
    }

    private enum CodingKeys: CodingKey {
        case version, boot, sessions, kernelOrchestrator, kernelUpdate, isHealthy, findings, totals
    }

    func encode(to encoder: any Encoder) throws {
        // The members of luod's own line have the names that they have on the wire.
        try status.daemon.encode(to: encoder)
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(StatusDocument.version, forKey: .version)
        try members.encode(verdict.isHealthy, forKey: .isHealthy)
        try members.encode(verdict.faults + verdict.notices, forKey: .findings)
        try members.encode(StatusTotals(status.sessions), forKey: .totals)
        // Boots count from 1: the first boot, and one for each update.
        try members.encode(status.boot, forKey: .boot)
        try members.encode(status.sessions, forKey: .sessions)
        try members.encode(KernelReport(kernel), forKey: .kernelOrchestrator)
        try members.encodeIfPresent(kernelUpdate.map { KernelUpdateDocument($0) }, forKey: .kernelUpdate)
    }
}

/// The properties of all documents of `luoctl status --json`.
enum StatusDocument {
    /// The version of the members that luoctl adds. The members of luod have a schema of their own.
    static let version = 1
}

/// `luoctl status SESSION --json`
struct SessionStatusReport: Encodable {
    private let version = StatusDocument.version
    private let schema = LuodStatus.schema
    private let sessions: [LuodStatus.Session]

    init(_ sessions: [LuodStatus.Session]) { self.sessions = sessions }
}

/// The output of `luoctl status --json` when luod does not answer.
struct StatusReportWithoutDaemon: Encodable {
    private let version = StatusDocument.version
    private let kernelOrchestrator: KernelReport

    init(_ kernel: KernelOrchestrator) { kernelOrchestrator = KernelReport(kernel) }
}

/// The member of `luoctl status --json` for the kernel's Live Update Orchestrator.
private struct KernelReport: Encodable {
    private let isOn: Bool
    private let hasFile: Bool
    private let isRequested: Bool

    init(_ kernel: KernelOrchestrator) {
        isOn = kernel.isOn
        hasFile = kernel.hasFile
        isRequested = kernel.isRequested
    }
}

extension KernelOrchestrator {
    /// The line about the kernel's Live Update Orchestrator, for people.
    var text: String {
        switch (isOn, hasFile, isRequested) {
        case (true, true, _): "kernel: its Live Update Orchestrator is switched on, with \(Self.devicePath)"
        case (true, false, _):
            "kernel: its Live Update Orchestrator is switched on, but \(Self.devicePath) is missing here: mount "
                + "devtmpfs"
        case (false, _, true):
            "kernel: no Live Update Orchestrator, although liveupdate=on is on the kernel's command line: this kernel "
                + "has none (CONFIG_LIVEUPDATE), or no Kexec Handover (kho=on)"
        case (false, _, false):
            "kernel: no Live Update Orchestrator: this kernel has none (CONFIG_LIVEUPDATE), or kho=on liveupdate=on is "
                + "not on its command line"
        }
    }
}

extension LuodStatus.Session {
    /// The state of the session, in words for people. It depends on whether a client holds the session.
    var state: String {
        if isFinished { return "finished" }
        if isAttached { return isDetached ? "attached" : "open" }
        return isDetached ? "detached" : "waits to be retrieved"
    }
}

extension LuodStatus.File {
    /// Whether this is a held descriptor: `luoctl preserve --held`.
    var isHeld: Bool { compatible == "held-fd-v1" }
}

extension LuodStatus {
    /// The number of the boot, counted from 1. It does not overflow.
    var boot: UInt64 { daemon.updates == .max ? .max : daemon.updates + 1 }

    /// The session of a user with this name and direction.
    func session(_ name: SessionName, _ direction: Direction, of user: UInt32) -> Session? {
        sessions.first {
            $0.owner == user && $0.direction == direction.rawValue && SessionName(described: $0.name) == name
        }
    }

    /// A line for each file with a problem, in the order in which sessions and files were made. `direction` is the
    /// direction of the sessions; nil for both.
    func problems(_ direction: Direction? = nil) -> [SessionLine] {
        sessions.filter { direction == nil || $0.direction == direction?.rawValue }.flatMap { session in
            session.files.compactMap { file in
                file.problem.map { SessionLine(subject: session.subject(of: file), state: $0) }
            }
        }
    }

    /// A line for each session that an update would discard, and for each of its files, in the words of luod's answer.
    var unfinished: [SessionLine] {
        sessions.filter { $0.direction == Direction.incoming.rawValue && !$0.isFinished }.flatMap { session in
            [SessionLine(subject: session.subject, state: "unfinished")]
                + session.files.map {
                    SessionLine(subject: session.subject(of: $0), state: "\($0.compatible), unfinished")
                }
        }
    }
}

extension LuodStatus.Session {
    /// The session in the words of luod's answers.
    var subject: String { "user \(owner), session \"\(name)\"" }

    /// A file of the session in the words of luod's answers.
    func subject(of file: LuodStatus.File) -> String { "\(subject), token \(file.token)" }
}
