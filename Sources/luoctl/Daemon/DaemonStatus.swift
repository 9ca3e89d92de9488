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
        /// Retrieved, of an incoming one.
        let isOpen: Bool
        let isFinished: Bool
        let isDetached: Bool
        /// Somebody holds it.
        let isAttached: Bool
        let files: [File]
    }

    struct File: Codable {
        /// As text: not every reader of JSON has 64 bits.
        let token: String
        let compatible: String
        /// Nil when the file is lost.
        let size: UInt64?
        /// 0 not yet, 1 retrieved, negative the errno of a failure.
        let retrieved: Int32
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
        boot = status.updates + 1
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
    /// What luod says now.
    init(of device: LiveUpdateDevice) throws(LiveUpdateError) {
        let text = try device.status()
        guard let status = try? JSONDecoder().decode(DaemonStatus.self, from: Data(text.utf8)) else {
            throw LiveUpdateError(
                .notSupported, "luod says its status in another way", remedy: "use the luoctl of its version")
        }
        self = status
    }
}
