// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
public import LiveUpdateCore
package import LiveUpdateProtocol
import SystemPackage

/// The status of luod, and the sessions and files that it holds: ``LiveUpdateDevice/status()``.
public struct DeviceStatus: Sendable {
    /// The number of updates so far: 0 in the first boot.
    public let updates: UInt64
    /// The blackout of the update or reload with which luod's orchestrator began, in nanoseconds; nil when it began
    /// otherwise.
    public let lastBlackout: UInt64?
    /// The process ID of luod's orchestrator.
    public let orchestrator: Int32
    /// The process ID of luod's keeper; nil when the keeper has died.
    public let keeper: Int32?
    /// Whether the keeper answers. False when the keeper has died, too.
    public let keeperAnswers: Bool
    /// The reason why luod cannot read its state, and serves only root; nil when it can.
    public let refusal: String?
    /// The size of the arena in bytes.
    public let arenaSize: UInt64
    /// The bytes of the arena that are in use.
    public let arenaUsed: UInt64
    /// The sessions that this user may see, oldest first.
    public let sessions: [Session]
    /// The FLBs.
    public let flbs: [FLB]
    /// The memory of users' files, if users have limits on memory. Root sees the users with the most memory. Every
    /// other user sees only the memory of its own files.
    public let memory: [Memory]
    /// Persistent memory that files of this boot need, and that the kernel lacks or has not mounted: a reason with its
    /// remedy for each region.
    public let missing: [String]
    /// The image that a load has made ready for the next update; nil without one. Only root sees it.
    public let ready: ReadyImage?

    /// An image that a load has started ahead of an update.
    public struct ReadyImage: Sendable {
        /// The path of the image. It is empty for the image that runs.
        public let path: String
        /// The version of its luod; nil when the image does not say.
        public let version: String?
        /// The process ID of the image; nil when it is unknown.
        public let process: Int32?
        /// The time since which the image is ready, in nanoseconds of CLOCK_REALTIME.
        public let since: UInt64
        /// The reason why the image has ended before an update; nil while it waits.
        public let failure: String?
    }

    /// A process of a client.
    public struct Client: Sendable {
        /// The process ID, as luod sees it.
        public let process: Int32
        /// The name of the command when the process opened the session: at most 15 bytes, in which a byte that is not
        /// printable is `\xNN`. Empty if it is unknown.
        public let command: String
    }

    /// A session.
    public struct Session: Sendable {
        /// The name. Each user has separate names.
        public let name: SessionName
        /// The ID of the user.
        public let user: UInt32
        /// Outgoing if this boot created the session, incoming if it was handed over to this boot.
        public let direction: Direction
        /// Whether the session is outgoing or was retrieved.
        public let isOpen: Bool
        /// Whether the session is finished. Only an incoming session can be finished.
        public let isFinished: Bool
        /// Whether the session survives its last close.
        public let isDetached: Bool
        /// Whether a client holds the session.
        public let isAttached: Bool
        /// The time at which the session was made, in nanoseconds of CLOCK_REALTIME; nil when it is unknown.
        public let since: UInt64?
        /// The client that made the session; nil when its process is unknown.
        public let maker: Client?
        /// The client that opened the session and that holds it now; nil when no client holds it, or when its process
        /// is unknown. The process may have passed the session to another process.
        public let holder: Client?
        /// The files in the order of their preserves.
        public let files: [File]
    }

    /// A preserved file.
    public struct File: Sendable {
        /// The file's number in the session.
        public let token: UInt64
        /// The compatible string of the file's handler.
        public let compatible: String
        /// The size in bytes; nil when the file is lost.
        public let size: UInt64?
        /// The outcome of the retrieve of an incoming file.
        public let retrieveStatus: RetrieveStatus
        /// The reason why the file cannot be frozen, or why the last update left it out; nil without a problem.
        public let problem: String?
        /// The locks that the held open file description has, in words such as `flock exclusive`: flock(2), and
        /// F_OFD_SETLK of fcntl(2).
        public let locks: [String]
        /// The fate of the file when the kernel is replaced; nil when luod does not say.
        public let kernelFate: KernelFate?
    }

    /// An FLB, in one direction.
    public struct FLB: Sendable {
        /// The compatible string of the FLB.
        public let compatible: String
        /// The direction. An FLB can have one state in each direction.
        public let direction: Direction
        /// The number of files that are counted on the FLB; 0 once it is finished.
        public let count: UInt64
    }

    /// The memory of a user's files with pages of one size.
    public struct Memory: Sendable {
        /// The ID of the user.
        public let user: UInt32
        /// The bytes of a page.
        public let pageSize: UInt64
        /// The allocated bytes of the files.
        public let bytes: UInt64
        /// The most bytes that the files may have; nil for no limit. Beyond the limit a preserve fails with EDQUOT.
        public let limit: UInt64?
    }
}

// MARK: From luod's lines

extension DeviceStatus {
    /// Makes the typed status from the lines of luod.
    ///
    /// - Returns: nil when a member has a value that this client does not know.
    init?(_ status: LuodStatus) {
        var sessions: [Session] = []
        for session in status.sessions {
            guard let session = Session(session) else { return nil }
            sessions.append(session)
        }
        var flbs: [FLB] = []
        for flb in status.flbs {
            guard let direction = Direction(rawValue: flb.direction), let count = UInt64(exactly: flb.count) else {
                return nil
            }
            flbs.append(FLB(compatible: flb.compatible, direction: direction, count: count))
        }
        self.init(
            updates: status.updates, lastBlackout: status.lastBlackout, orchestrator: status.orchestrator,
            keeper: status.keeper > 0 ? status.keeper : nil, keeperAnswers: status.keeperAnswers,
            refusal: status.refusal, arenaSize: status.arenaSize, arenaUsed: status.arenaUsed, sessions: sessions,
            flbs: flbs,
            memory: (status.memory ?? []).map {
                Memory(user: $0.user, pageSize: $0.pageSize, bytes: $0.bytes, limit: $0.limit)
            },
            missing: status.missing ?? [], ready: status.ready.map { DeviceStatus.ReadyImage($0) })
    }
}

extension DeviceStatus.Session {
    fileprivate init?(_ session: LuodStatus.Session) {
        guard let direction = Direction(rawValue: session.direction) else { return nil }
        var files: [DeviceStatus.File] = []
        for file in session.files {
            guard let file = DeviceStatus.File(file) else { return nil }
            files.append(file)
        }
        self.init(
            name: SessionName(described: session.name), user: session.owner, direction: direction,
            isOpen: session.isOpen, isFinished: session.isFinished, isDetached: session.isDetached,
            isAttached: session.isAttached, since: session.since,
            maker: session.maker.map { DeviceStatus.Client($0) },
            holder: session.holder.map { DeviceStatus.Client($0) }, files: files)
    }
}

extension DeviceStatus.ReadyImage {
    fileprivate init(_ ready: LuodStatus.Ready) {
        self.init(
            path: ready.image, version: ready.version, process: ready.process > 0 ? ready.process : nil,
            since: ready.since, failure: ready.failure)
    }
}

extension DeviceStatus.Client {
    fileprivate init(_ client: LuodStatus.Client) { self.init(process: client.process, command: client.command) }
}

extension DeviceStatus.File {
    fileprivate init?(_ file: LuodStatus.File) {
        guard let token = UInt64(file.token) else { return nil }
        let retrieveStatus: RetrieveStatus
        switch file.retrieved {
        case 0: retrieveStatus = .notTried
        case 1: retrieveStatus = .done
        case -4095 ... -1: retrieveStatus = .failed(errno: -file.retrieved)
        default: return nil
        }
        self.init(
            token: token, compatible: file.compatible, size: file.size, retrieveStatus: retrieveStatus,
            problem: file.problem, locks: file.locks ?? [],
            kernelFate: file.kernel.flatMap { KernelFate(rawValue: $0) })
    }
}

extension LuodStatus {
    /// Reads the present status.
    ///
    /// - Throws: as ``LiveUpdateDevice/status()``.
    package init(of device: LiveUpdateDevice) throws(LiveUpdateError) { try self.init(reading: device.statusLines()) }

    /// Reads the status of luod itself, without sessions.
    package static func daemon(of device: LiveUpdateDevice) throws(LiveUpdateError) -> LuodStatus {
        try LuodStatus(reading: device.statusPage().lines)
    }

    /// Reads the lines of pages. Unknown members are ignored, so that a client can ask a newer luod.
    private init(reading lines: [UInt8]) throws(LiveUpdateError) {
        let array =
            Array("[".utf8) + lines.split(separator: UInt8(ascii: "\n")).joined(separator: [UInt8(ascii: ",")])
            + Array("]".utf8)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let lines = try? decoder.decode([Line].self, from: Data(array)), let status = LuodStatus(lines)
        else {
            throw Self.unreadable
        }
        self = status
    }

    static var unreadable: LiveUpdateError {
        LiveUpdateError(
            .notSupported, "luod answered with a status that this client cannot read",
            remedy: "use a client and a luod of the same version")
    }
}
