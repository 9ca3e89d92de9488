import Foundation
import LiveUpdateDevice

/// What luod says of itself: docs/daemon.md.
struct DaemonStatus: Codable {
    /// What a process of luod may do, as the kernel says.
    struct Process: Codable {
        let name: String
        let process: Int32
        let capabilities: [String]
        let hasNoNewPrivileges: Bool
        /// "off", "strict" or "filter".
        let seccomp: String
    }

    struct Session: Codable {
        let name: String
        /// The user's number.
        let owner: UInt32
        let direction: String
        /// Whether the session is outgoing, or was retrieved.
        let isOpen: Bool
        let isFinished: Bool
        let isDetached: Bool
        /// Whether a client holds the session.
        let isAttached: Bool
        let files: [File]

        /// The state of the session, in words for people: by the client that holds it, or the lack of one.
        var holder: String {
            if isFinished { return "finished" }
            if isAttached { return isDetached ? "attached" : "open" }
            return isDetached ? "detached" : "waits to be retrieved"
        }
    }

    struct File: Codable {
        /// As text: not every reader of JSON has 64 bits.
        let token: String
        let compatible: String
        /// Nil when the file is lost.
        let size: UInt64?
        /// 0 not yet, 1 retrieved, negative the errno of a failure.
        let retrieved: Int32
        /// The reason why the file cannot be frozen, or why the last update left it out; nil without a problem, and
        /// from an older luod.
        let problem: String?

        /// Whether this is a held descriptor: `luoctl preserve --held`.
        var isHeld: Bool { compatible == "held-fd-v1" }

        /// Writes all members: a missing value is null.
        func encode(to encoder: any Encoder) throws {
            var members = encoder.container(keyedBy: CodingKeys.self)
            try members.encode(token, forKey: .token)
            try members.encode(compatible, forKey: .compatible)
            try members.encode(size, forKey: .size)
            try members.encode(retrieved, forKey: .retrieved)
            try members.encode(problem, forKey: .problem)
        }
    }

    struct FLB: Codable {
        let compatible: String
        let direction: String
        /// Files that need it.
        let count: Int64
    }

    let orchestrator: Int32
    /// 0 when it has died.
    let keeper: Int32
    let processes: [Process]
    /// False when the keeper has died, or does not answer; nil from an older luod.
    let keeperAnswers: Bool?
    /// Why luod cannot read its state, and serves only root; nil when it can.
    let refusal: String?
    let updates: UInt64
    /// Nanoseconds, of the update or reload with which the orchestrator began; nil when it began otherwise.
    let lastBlackout: UInt64?
    let arenaSize: UInt64
    let arenaUsed: UInt64
    let sessions: [Session]
    let flbs: [FLB]
}

/// `luoctl status --json`
struct DaemonStatusReport: Encodable {
    private let version = 1
    /// 1 is the first: a boot for each update, and one more.
    private let boot: UInt64
    private let status: DaemonStatus

    init(_ status: DaemonStatus) {
        boot = status.boot
        self.status = status
    }

    private enum CodingKeys: CodingKey {
        case version, boot
    }

    func encode(to encoder: any Encoder) throws {
        try status.encode(to: encoder)
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(version, forKey: .version)
        try members.encode(boot, forKey: .boot)
    }
}

extension DaemonStatus {
    /// The number of the boot, counted from 1. It does not overflow.
    var boot: UInt64 { updates == .max ? .max : updates + 1 }

    /// The session that a user has of a name and direction.
    func session(_ name: SessionName, _ direction: Direction, of user: UInt32) -> Session? {
        sessions.first {
            $0.owner == user && $0.direction == direction.rawValue && SessionName(described: $0.name) == name
        }
    }

    /// A line for each file with a problem, in the order in which sessions and files were made.
    ///
    /// - Parameter direction: the direction of the sessions; nil for both.
    func problems(_ direction: Direction? = nil) -> [String] {
        sessions.filter { direction == nil || $0.direction == direction?.rawValue }.flatMap { session in
            session.files.compactMap { file in
                file.problem.map {
                    "user \(session.owner), session \"\(session.name)\", token \(file.token): \($0)"
                }
            }
        }
    }

    /// A line for each session that an update would discard, and for each of its files, in the words of luod's answer.
    var unfinished: [String] {
        sessions.filter { $0.direction == Direction.incoming.rawValue && !$0.isFinished }.flatMap { session in
            let name = "user \(session.owner), session \"\(session.name)\""
            return ["\(name): unfinished"]
                + session.files.map { "\(name), token \($0.token): \($0.compatible), unfinished" }
        }
    }

    /// What luod says now.
    init(of device: LiveUpdateDevice) throws(LiveUpdateError) {
        let text = try device.status()
        guard let status = try? JSONDecoder().decode(DaemonStatus.self, from: Data(text.utf8)) else {
            throw LiveUpdateError(
                .notSupported, "the status of luod cannot be read",
                remedy: "use a luoctl and a luod of the same version")
        }
        self = status
    }
}
