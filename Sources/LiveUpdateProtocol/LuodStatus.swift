// SPDX-License-Identifier: Apache-2.0

/// The status of luod, which STATUS answers in pages of JSON lines: docs/protocol.md. luod writes the lines, and
/// clients read them.
///
/// The first page begins with a line for luod. Each page has a line for each session, and after it a line for each file
/// of the session. A page that begins in the middle of a session repeats the line of the session.
@dynamicMemberLookup
package struct LuodStatus: Equatable, Sendable {
    /// luod itself.
    package var daemon: Daemon
    /// The sessions that the caller may see, oldest first.
    package var sessions: [Session]

    /// The properties of luod itself.
    package struct Daemon: Codable, Equatable, Sendable {
        /// "luod-status-3".
        package var schema = LuodStatus.schema
        /// The process ID of the orchestrator.
        package var orchestrator: Int32
        /// The process ID of the keeper; 0 when it has died.
        package var keeper: Int32
        package var processes: [Process]
        /// False when the keeper has died or does not answer.
        package var keeperAnswers: Bool
        /// The reason why luod cannot read its state, and serves only root; nil when it can.
        package var refusal: String?
        package var updates: UInt64
        /// The blackout of the update or reload with which the orchestrator began, in nanoseconds; nil when it began
        /// otherwise.
        package var lastBlackout: UInt64?
        /// The size of the arena, in bytes.
        package var arenaSize: UInt64
        /// The used part of the arena, in bytes.
        package var arenaUsed: UInt64
        package var flbs: [FLB]
        /// The memory of users' files, if users have limits on it. It has the users with the most memory, or only the
        /// user of the client. Nil from a luod that does not measure it.
        package var memory: [Memory]?
        /// Persistent memory that files of this boot need, and that this kernel lacks or has not mounted: a reason
        /// with its remedy for each region. Nil from a luod that does not look.
        package var missing: [String]?
        /// Whether the kernel's Live Update Orchestrator can carry memory files of luod. Nil from a luod that does not
        /// look.
        package var carriesMemory: Bool?
        /// The image that a load has made ready; nil without one, and from a luod that does not say.
        package var ready: Ready?
        /// The counters of luod and the load of its orchestrator. Nil for other users than root and luod's own, and
        /// from a luod that does not count.
        package var load: Load?
        /// False when another program has removed the arena's name, so that the state ends with luod. Nil from a luod
        /// that does not look.
        package var arenaIsNamed: Bool?

        package init(
            orchestrator: Int32, keeper: Int32, processes: [Process] = [], keeperAnswers: Bool = true,
            refusal: String? = nil, updates: UInt64 = 0,
            lastBlackout: UInt64? = nil,
            arenaSize: UInt64 = 0, arenaUsed: UInt64 = 0, flbs: [FLB] = [], memory: [Memory]? = [],
            missing: [String]? = [], carriesMemory: Bool? = false, ready: Ready? = nil, load: Load? = nil,
            arenaIsNamed: Bool? = true
        ) {
            self.orchestrator = orchestrator
            self.keeper = keeper
            self.processes = processes
            self.keeperAnswers = keeperAnswers
            self.refusal = refusal
            self.updates = updates
            self.lastBlackout = lastBlackout
            self.arenaSize = arenaSize
            self.arenaUsed = arenaUsed
            self.flbs = flbs
            self.memory = memory
            self.missing = missing
            self.carriesMemory = carriesMemory
            self.ready = ready
            self.load = load
            self.arenaIsNamed = arenaIsNamed
        }
    }

    /// The image that a load has started ahead of an update.
    package struct Ready: Codable, Equatable, Sendable {
        /// The path of the image. It is empty for the image that runs.
        package var image: String
        /// The version of its luod; nil when the image does not say.
        package var version: String?
        /// The process ID of the image; 0 when it is unknown.
        package var process: Int32
        /// The time since which the image is ready, in nanoseconds of CLOCK_REALTIME.
        package var since: UInt64
        /// The reason why the image has ended before an update; nil while it waits.
        package var failure: String?

        package init(image: String, version: String?, process: Int32, since: UInt64, failure: String? = nil) {
            self.image = image
            self.version = version
            self.process = process
            self.since = since
            self.failure = failure
        }
    }

    /// A process of a client.
    package struct Client: Codable, Equatable, Sendable {
        /// The process ID, as luod sees it.
        package var process: Int32
        /// The name of the command when the process opened the session: at most 15 bytes. Empty if it is unknown.
        package var command: String

        package init(process: Int32, command: String) {
            self.process = process
            self.command = command
        }
    }

    /// The memory of a user's files with pages of one size.
    package struct Memory: Codable, Equatable, Sendable {
        package var user: UInt32
        /// The bytes of a page.
        package var pageSize: UInt64
        /// The allocated bytes of the files.
        package var bytes: UInt64
        /// The most bytes that the files may have; nil: no limit.
        package var limit: UInt64?

        package init(user: UInt32, pageSize: UInt64, bytes: UInt64, limit: UInt64? = nil) {
            self.user = user
            self.pageSize = pageSize
            self.bytes = bytes
            self.limit = limit
        }

        /// Whether the files have grown beyond the limit. Further files are refused with EDQUOT.
        package var isOver: Bool { limit.map { bytes > $0 } ?? false }
    }

    /// The counters of luod, which begin at 0 with it, and the load of its orchestrator.
    package struct Load: Codable, Equatable, Sendable {
        package var counters: [Counter]
        /// The blackouts of updates and reloads; nil when they are not counted.
        package var blackouts: Blackouts?
        /// The number of connections with a request that waits.
        package var queue: Int
        /// The number of descriptors that the orchestrator holds for clients.
        package var descriptors: Int
        /// The most descriptors that it may hold.
        package var descriptorLimit: Int

        package init(
            counters: [Counter], blackouts: Blackouts?, queue: Int, descriptors: Int, descriptorLimit: Int
        ) {
            self.counters = counters
            self.blackouts = blackouts
            self.queue = queue
            self.descriptors = descriptors
            self.descriptorLimit = descriptorLimit
        }
    }

    /// One counter.
    package struct Counter: Codable, Equatable, Sendable {
        /// "updates" or "deaths".
        package var name: String
        /// The kind of the update, or the process that died.
        package var of: String
        /// The result of the update, or the cause of the death.
        package var result: String
        package var count: UInt64

        package init(name: String, of: String, result: String, count: UInt64) {
            self.name = name
            self.of = of
            self.result = result
            self.count = count
        }
    }

    /// The blackouts of all updates and reloads.
    package struct Blackouts: Codable, Equatable, Sendable {
        /// The sum in nanoseconds.
        package var sum: UInt64
        /// The buckets, with rising bounds.
        package var buckets: [Bucket]

        package init(sum: UInt64, buckets: [Bucket]) {
            self.sum = sum
            self.buckets = buckets
        }
    }

    /// The blackouts that are longer than the bound of the bucket before, and not longer than this bound.
    package struct Bucket: Codable, Equatable, Sendable {
        /// The bound in nanoseconds; nil: none.
        package var upTo: UInt64?
        package var count: UInt64

        package init(upTo: UInt64?, count: UInt64) {
            self.upTo = upTo
            self.count = count
        }
    }

    /// The actual rights of a process of luod, from the kernel.
    package struct Process: Codable, Equatable, Sendable {
        /// "keeper", "orchestrator" or "gate".
        package var name: String
        package var process: Int32
        package var capabilities: [String]
        package var hasNoNewPrivileges: Bool
        /// "off", "strict" or "filter".
        package var seccomp: String

        package init(
            name: String, process: Int32, capabilities: [String], hasNoNewPrivileges: Bool, seccomp: String
        ) {
            self.name = name
            self.process = process
            self.capabilities = capabilities
            self.hasNoNewPrivileges = hasNoNewPrivileges
            self.seccomp = seccomp
        }
    }

    /// A session.
    package struct Session: Codable, Equatable, Sendable {
        /// The number of the session. No other session of the boot has had it.
        package var number: UInt64
        package var name: String
        /// The ID of the user.
        package var owner: UInt32
        package var direction: String
        /// Whether the session is outgoing or was retrieved.
        package var isOpen: Bool
        package var isFinished: Bool
        package var isDetached: Bool
        /// Whether a client holds the session.
        package var isAttached: Bool
        /// The time at which the session was made, in nanoseconds of CLOCK_REALTIME; nil when it is unknown.
        package var since: UInt64?
        /// The client that made the session; nil when its process is unknown.
        package var maker: Client?
        /// The client that opened the session and that holds it now; nil when no client holds it, or when its process
        /// is unknown. The process may have passed the session to another process.
        package var holder: Client?
        package var files: [File]

        package init(
            number: UInt64, name: String, owner: UInt32, direction: String, isOpen: Bool, isFinished: Bool,
            isDetached: Bool, isAttached: Bool, since: UInt64? = nil, maker: Client? = nil, holder: Client? = nil,
            files: [File] = []
        ) {
            self.number = number
            self.name = name
            self.owner = owner
            self.direction = direction
            self.isOpen = isOpen
            self.isFinished = isFinished
            self.isDetached = isDetached
            self.isAttached = isAttached
            self.since = since
            self.maker = maker
            self.holder = holder
            self.files = files
        }
    }

    /// A file of a session.
    package struct File: Codable, Equatable, Sendable {
        /// The token as text, because some JSON readers have no 64-bit numbers.
        package var token: String
        package var compatible: String
        /// The size in bytes; nil when the file is lost.
        package var size: UInt64?
        /// The size of the file's huge pages, in bytes. Nil for a file on ordinary pages, and from a luod that does not
        /// look.
        package var pageSize: UInt64?
        /// The bytes that the file takes in memory or on its file system; nil when the file is lost.
        package var allocated: UInt64?
        /// 0 before the file is retrieved, 1 afterwards, or the negative errno of a failed attempt.
        package var retrieved: Int32
        /// The reason why the file cannot be frozen, or why the last update left it out; nil without a problem.
        package var problem: String?
        /// Whether luod has checksums of the file (`luoctl preserve --attest`). Nil from a luod that does not say.
        package var isAttested: Bool?
        /// The locks that the held open file description has, in words; nil without locks.
        package var locks: [String]?
        /// The fate of the file when the kernel is replaced: "stays", "needs-luo" or "ends". Nil from a luod that
        /// does not say.
        package var kernel: String?
        /// The number of the file's device: `st_dev`, or `st_rdev` for a device. Nil when the file is lost.
        package var device: UInt64?
        /// The inode of the file; nil when the file is lost. Two files with the same device and inode are the same
        /// file.
        package var inode: UInt64?

        package init(
            token: String, compatible: String, size: UInt64?, allocated: UInt64? = nil, retrieved: Int32,
            problem: String? = nil, isAttested: Bool? = false, locks: [String]? = nil, kernel: String? = nil,
            device: UInt64? = nil,
            inode: UInt64? = nil, pageSize: UInt64? = nil
        ) {
            self.pageSize = pageSize
            self.token = token
            self.compatible = compatible
            self.size = size
            self.allocated = allocated
            self.retrieved = retrieved
            self.problem = problem
            self.isAttested = isAttested
            self.locks = locks
            self.kernel = kernel
            self.device = device
            self.inode = inode
        }
    }

    /// An FLB: state that files share.
    package struct FLB: Codable, Equatable, Sendable {
        package var compatible: String
        package var direction: String
        /// The number of files that need it.
        package var count: Int64

        package init(compatible: String, direction: String, count: Int64) {
            self.compatible = compatible
            self.direction = direction
            self.count = count
        }
    }

    package static let schema = "luod-status-3"

    package init(daemon: Daemon, sessions: [Session] = []) {
        self.daemon = daemon
        self.sessions = sessions
    }

    /// The properties of luod itself.
    package subscript<Value>(dynamicMember member: KeyPath<Daemon, Value>) -> Value { daemon[keyPath: member] }
}

// MARK: Reading

extension LuodStatus {
    /// One line of a page. Exactly one member is set, or none for an unknown kind of line.
    package struct Line: Decodable, Equatable, Sendable {
        package var luod: Daemon?
        package var session: Session?
        package var file: File?
    }

    /// Combines the lines of all pages. Nil when no line is about luod, or when a file comes before every session.
    package init?(_ lines: [Line]) {
        guard let daemon = lines.lazy.compactMap(\.luod).first, daemon.schema == Self.schema else { return nil }
        self.init(daemon: daemon)
        for line in lines {
            if let session = line.session, session.number != sessions.last?.number { sessions.append(session) }
            if let file = line.file {
                guard !sessions.isEmpty else { return nil }
                sessions[sessions.count - 1].files.append(file)
            }
        }
    }
}

extension LuodStatus.Session {
    private enum CodingKeys: CodingKey {
        case number, name, owner, direction, isOpen, isFinished, isDetached, isAttached, since, maker, holder, files
    }

    /// Reads the line of a session, which has no files.
    package init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        number = try members.decode(UInt64.self, forKey: .number)
        name = try members.decode(String.self, forKey: .name)
        owner = try members.decode(UInt32.self, forKey: .owner)
        direction = try members.decode(String.self, forKey: .direction)
        isOpen = try members.decode(Bool.self, forKey: .isOpen)
        isFinished = try members.decode(Bool.self, forKey: .isFinished)
        isDetached = try members.decode(Bool.self, forKey: .isDetached)
        isAttached = try members.decode(Bool.self, forKey: .isAttached)
        since = try members.decodeIfPresent(UInt64.self, forKey: .since)
        maker = try members.decodeIfPresent(LuodStatus.Client.self, forKey: .maker)
        holder = try members.decodeIfPresent(LuodStatus.Client.self, forKey: .holder)
        files = try members.decodeIfPresent([LuodStatus.File].self, forKey: .files) ?? []
    }
}

extension LuodStatus.File {
    /// Writes all members. A missing value is null.
    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(token, forKey: .token)
        try members.encode(compatible, forKey: .compatible)
        try members.encode(size, forKey: .size)
        try members.encode(allocated, forKey: .allocated)
        try members.encodeIfPresent(pageSize, forKey: .pageSize)
        try members.encode(retrieved, forKey: .retrieved)
        try members.encode(problem, forKey: .problem)
        try members.encode(isAttested ?? false, forKey: .isAttested)
        try members.encodeIfPresent(locks, forKey: .locks)
        try members.encode(kernel, forKey: .kernel)
        try members.encode(device, forKey: .device)
        try members.encode(inode, forKey: .inode)
    }
}

extension LuodStatus.Daemon {
    /// Writes all members, as luod does. A missing value is null.
    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(schema, forKey: .schema)
        try members.encode(orchestrator, forKey: .orchestrator)
        try members.encode(keeper, forKey: .keeper)
        try members.encode(processes, forKey: .processes)
        try members.encode(keeperAnswers, forKey: .keeperAnswers)
        try members.encode(refusal, forKey: .refusal)
        try members.encode(updates, forKey: .updates)
        try members.encode(lastBlackout, forKey: .lastBlackout)
        try members.encode(arenaSize, forKey: .arenaSize)
        try members.encode(arenaUsed, forKey: .arenaUsed)
        try members.encode(flbs, forKey: .flbs)
        try members.encode(memory ?? [], forKey: .memory)
        try members.encode(missing ?? [], forKey: .missing)
        try members.encode(carriesMemory ?? false, forKey: .carriesMemory)
        try members.encode(ready, forKey: .ready)
        try members.encodeIfPresent(load, forKey: .load)
        try members.encode(arenaIsNamed ?? true, forKey: .arenaIsNamed)
    }
}

extension LuodStatus.Bucket {
    /// Writes all members, as luod does. A missing bound is null.
    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(upTo, forKey: .upTo)
        try members.encode(count, forKey: .count)
    }
}

extension LuodStatus.Ready {
    /// Writes all members, as luod does. A missing value is null.
    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(image, forKey: .image)
        try members.encode(version, forKey: .version)
        try members.encode(process, forKey: .process)
        try members.encode(since, forKey: .since)
        try members.encode(failure, forKey: .failure)
    }
}

extension LuodStatus.Memory {
    /// Writes all members, as luod does. A missing value is null.
    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(user, forKey: .user)
        try members.encode(pageSize, forKey: .pageSize)
        try members.encode(bytes, forKey: .bytes)
        try members.encode(limit, forKey: .limit)
    }
}

extension LuodStatus.Session {
    /// Writes all members as luod does, and the files. A missing value is null.
    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(number, forKey: .number)
        try members.encode(name, forKey: .name)
        try members.encode(owner, forKey: .owner)
        try members.encode(direction, forKey: .direction)
        try members.encode(isOpen, forKey: .isOpen)
        try members.encode(isFinished, forKey: .isFinished)
        try members.encode(isDetached, forKey: .isDetached)
        try members.encode(isAttached, forKey: .isAttached)
        try members.encode(since, forKey: .since)
        try members.encode(maker, forKey: .maker)
        try members.encode(holder, forKey: .holder)
        try members.encode(files, forKey: .files)
    }
}
