// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
public import LiveUpdatePlatform

/// The state of an orchestrator at one moment. It is for display, and not for decisions.
public struct Status: Sendable {
    /// A session.
    public struct Session: Sendable {
        /// The name with which the session was created or handed over.
        public let name: SessionName
        /// Outgoing if this boot created the session, incoming if it was handed over to this boot.
        public let direction: Direction
        /// The user of the session, and the slot that holds it.
        package let holder: SessionHolder
        /// The making of the session; nil when it is unknown.
        package let maker: SessionMaker?
        /// The client that opened the session last; nil when it is unknown.
        package let client: SessionClient?
        /// Whether the session is open.
        public let isOpen: Bool
        /// Whether the session is finished. Only an incoming session can be.
        public let isFinished: Bool
        /// The files in the order of their preserves.
        public let files: [File]
    }

    /// A preserved file.
    public struct File: Sendable {
        /// The file's number in the session.
        public let token: UInt64
        /// The compatible string of its handler.
        public let compatible: String
        /// Device and inode, or the identity that its handler gives instead.
        public let identity: FileIdentity
        /// The handle of its handler.
        public let data: UInt64
        /// The slot of its descriptor.
        package let slot: DescriptorSlot
        /// Whether an incoming file was retrieved.
        public let retrieveStatus: RetrieveStatus
        /// Whether the file has checksums: `luoctl preserve --attest`.
        package let isAttested: Bool
        /// The reason why an incoming file was left out of the update and cannot be retrieved; nil for all other files.
        public let problem: String?
    }

    /// An FLB, in one direction.
    public struct FLB: Sendable {
        /// Its compatible string.
        public let compatible: String
        /// The direction. An FLB can have one state in each direction.
        public let direction: Direction
        /// The number of files that are counted on the FLB; 0 once it is finished.
        public let count: UInt64
        /// Whether an incoming FLB was retrieved.
        public let retrieveStatus: RetrieveStatus
    }

    /// The number of updates so far: 0 in the first boot.
    public let updateNumber: UInt64
    /// The time at which the previous boot froze its files.
    public let freeze: FreezeTime
    /// Incoming sessions first, and the oldest first in each direction.
    public let sessions: [Session]
    /// The FLBs, incoming ones first.
    public let flbs: [FLB]
    /// The size of the arena in bytes.
    public let arenaSize: UInt64
    /// The bytes of the arena that are in use.
    public let arenaUsed: UInt64
}

extension Status.Session {
    init(_ session: SessionState, in state: BootState) { self.init(session, files: state.files(of: session)) }

    init(_ session: SessionState, files: [FileState]) {
        self.init(
            name: session.name, direction: session.direction, holder: session.holder,
            maker: session.maker, client: session.client, isOpen: session.progress != .waiting,
            isFinished: session.progress == .finished,
            files: files.map(Status.File.init))
    }
}

extension Status.File {
    init(_ file: FileState) {
        self.init(
            token: file.token, compatible: file.compatible, identity: file.identity, data: file.data, slot: file.slot,
            retrieveStatus: file.retrieved, isAttested: file.attestation != 0, problem: file.leftOut)
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
                    user: session.holder.user, session: session.name, direction: session.direction,
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

    func client(of session: SessionID) -> SessionClient? { read { $0.sessions[session]?.client } }

    func tokens(of session: SessionID) -> [UInt64] {
        read { state in state.sessions[session].map { state.files(of: $0).map(\.token) } ?? [] }
    }
}
