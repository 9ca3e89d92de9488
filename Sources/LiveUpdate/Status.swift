import Handover
public import Platform

/// What an orchestrator has, at one moment: to be shown, not to decide on.
public struct Status: Sendable {
    /// A session.
    public struct Session: Sendable {
        /// As it was made, or handed over.
        public let name: SessionName
        /// Made in this boot, or handed over to it.
        public let direction: Direction
        /// Whose it is, and what holds it.
        package let holder: SessionHolder
        /// Whether somebody has it open.
        public let isOpen: Bool
        /// Whether its files were let go: incoming ones only.
        public let isFinished: Bool
        /// In the order in which they were preserved.
        public let files: [File]
    }

    /// A preserved file.
    public struct File: Sendable {
        /// Its number in the session.
        public let token: UInt64
        /// The compatible string of its handler.
        public let compatible: String
        /// Device and inode, or what its handler says instead.
        public let identity: FileIdentity
        /// The handle of its handler.
        public let data: UInt64
        /// Where its descriptor is kept.
        package let slot: DescriptorSlot
        /// Of an incoming file: whether it was fetched.
        public let retrieveStatus: RetrieveStatus
        /// The reason why an incoming file was left out of the update and cannot be retrieved; nil for all other files.
        public let problem: String?
    }

    /// An FLB, in one direction.
    public struct FLB: Sendable {
        /// Its compatible string.
        public let compatible: String
        /// Which of its two states this is.
        public let direction: Direction
        /// Files that are counted on it; 0 once it is finished.
        public let count: UInt64
        /// Of an incoming one: whether it was fetched.
        public let retrieveStatus: RetrieveStatus
    }

    /// Updates so far: 0 in the first boot.
    public let updateNumber: UInt64
    /// When the previous boot froze its files.
    public let freeze: FreezeTime
    /// Incoming ones first, each kind oldest first.
    public let sessions: [Session]
    /// Incoming ones first.
    public let flbs: [FLB]
    /// In bytes.
    public let arenaSize: UInt64
    /// In bytes.
    public let arenaUsed: UInt64
}

extension Status.Session {
    init(_ session: SessionState, in state: BootState) { self.init(session, files: state.files(of: session)) }

    init(_ session: SessionState, files: [FileState]) {
        self.init(
            name: session.name, direction: session.direction, holder: session.holder,
            isOpen: session.progress != .waiting, isFinished: session.progress == .finished,
            files: files.map(Status.File.init))
    }
}

extension Status.File {
    init(_ file: FileState) {
        self.init(
            token: file.token, compatible: file.compatible, identity: file.identity, data: file.data, slot: file.slot,
            retrieveStatus: file.retrieved, problem: file.leftOut)
    }
}

extension Status.FLB {
    init(_ flb: FLBState) {
        self.init(
            compatible: flb.compatible, direction: flb.kind == .outgoing ? .outgoing : .incoming, count: flb.count,
            retrieveStatus: flb.retrieved)
    }
}

extension Boot {
    func status() throws(LiveUpdateError) -> Status {
        try ensureOpen()
        try checkOpen()
        let (state, freeze) = (read { $0 }, freeze)
        let sessions = state.sessions(.incoming) + state.sessions(.outgoing)
        return Status(
            updateNumber: state.updateNumber, freeze: freeze,
            sessions: sessions.map { Status.Session($0, in: state) },
            flbs: (state.flbs(.incoming) + state.flbs(.outgoing)).map(Status.FLB.init),
            arenaSize: arena.size, arenaUsed: arena.used)
    }

    func unfinishedSessions() throws(LiveUpdateError) -> [Status.Session] {
        try ensureOpen()
        try checkOpen()
        return read { state in
            state.sessions(.incoming).filter { $0.progress != .finished }.map { Status.Session($0, in: state) }
        }
    }

    /// The compatible strings of all files and FLBs, each once.
    func formatsInUse() throws(LiveUpdateError) -> Set<String> {
        try ensureOpen()
        try checkOpen()
        return read { state in
            var formats = Set((state.flbs(.incoming) + state.flbs(.outgoing)).map(\.compatible))
            for file in state.files.values { formats.insert(file.compatible) }
            return formats
        }
    }

    func lostFiles() throws(LiveUpdateError) -> [LostFile] {
        try ensureOpen()
        try checkOpen()
        let state = read { $0 }
        return (state.sessions(.incoming) + state.sessions(.outgoing)).flatMap { session in
            state.files(of: session).filter { isLost($0) }.map { file in
                LostFile(
                    user: session.holder.owner, session: session.name, direction: session.direction,
                    token: file.token, compatible: file.compatible)
            }
        }
    }

    func slots() throws(LiveUpdateError) -> [DescriptorSlot] {
        try ensureOpen()
        try checkOpen()
        return read { $0.files.values.map(\.slot) }
    }

    func openSessions() throws(LiveUpdateError) -> [Session] {
        try ensureOpen()
        try checkOpen()
        return openHandles()
    }

    func holder(of session: SessionID) -> SessionHolder {
        read { $0.sessions[session]?.holder ?? SessionHolder() }
    }

    func tokens(of session: SessionID) -> [UInt64] {
        read { state in state.sessions[session].map { state.files(of: $0).map(\.token) } ?? [] }
    }
}
