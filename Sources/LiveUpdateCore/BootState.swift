// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// A session as the journal describes it.
struct SessionState: Equatable, Sendable {
    enum Progress: UInt8, Sendable {
        /// Incoming, and not open.
        case waiting = 0
        /// The session is open.
        case open = 1
        /// Incoming, with finished files, and not closed yet.
        case finished = 2
    }

    var id: SessionID
    var name: SessionName
    var direction: Direction
    var progress: Progress
    /// The user of the session, and the slot that holds it.
    var holder = SessionHolder()
    /// The making of the session; nil when it is unknown.
    var maker: SessionMaker?
    /// The client that opened the session last; nil when it is unknown.
    var client: SessionClient?
    /// The files in the order of their preserves.
    var files: [FileID] = []
}

/// A preserved file as the journal describes it.
struct FileState: Equatable, Sendable {
    var id: FileID
    var session: SessionID
    var token: UInt64
    var compatible: String
    var slot: DescriptorSlot
    var identity: FileIdentity
    var data: UInt64
    var ranges: [StoredRange]
    /// The FLBs that the file was counted on when it was preserved, in link order.
    var flbs: [FLBID]
    var retrieved: RetrieveStatus
    /// Whether the file's user cannot preserve the same file again: ``FileHandler/holdsFile``.
    var holdsFile = true
    /// The offset of the file's checksums (``FileSums``), which are one of its ranges; 0 for a file without them.
    var attestation: UInt64 = 0
    /// The reason why the file was left out of the update that it came with, so that it cannot be retrieved.
    var leftOut: String?
}

/// One user's hold on a file. Another user can hold the same file.
struct FileHold: Hashable, Sendable {
    let user: SessionUser
    let identity: FileIdentity

    init(_ user: SessionUser, _ identity: FileIdentity) {
        self.user = user
        self.identity = identity
    }
}

/// One preservation of an FLB as the journal describes it.
struct FLBState: Equatable, Sendable {
    enum Kind: UInt8, Sendable {
        case outgoing = 0
        case incoming = 1
        /// Handed over, but its sessions were discarded. It must still be finished and cannot be borrowed.
        case discarded = 2
    }

    var id: FLBID
    var kind: Kind
    var compatible: String
    var data: UInt64
    var ranges: [StoredRange]
    /// The number of files that are counted on the FLB. An incoming FLB without files is finished.
    var count: UInt64
    var retrieved: RetrieveStatus
}

/// The progress of an update. The state has no phase for a published update: the arena's outgoing tree shows it.
enum Phase: UInt8, Sendable {
    case running = 0
    /// Files are being frozen, or are frozen. A process that finds this phase in a journal unfreezes them.
    case freezing = 1
    /// The boot has taken over, and the old boot can still thaw: see ``Orchestrator/confirm()``.
    case booting = 2
}

/// The key of a file: its session, and its number in the session.
private struct Token: Hashable, Sendable {
    let session: SessionID
    let number: UInt64

    init(_ session: SessionID, _ number: UInt64) {
        self.session = session
        self.number = number
    }
}

/// The state of a boot that must not be lost. Only ``Event``s change it. An event has the same effect when it happens
/// and when the journal is replayed after a crash. Live objects and locks can be made again from this state, so they
/// are elsewhere.
struct BootState: Sendable {
    /// The number of updates so far: 0 in the first boot.
    private(set) var updateNumber: UInt64 = 0
    private(set) var phase = Phase.running
    private(set) var nextID: UInt64 = 1
    /// Increases with every event that may change the next tree.
    private(set) var revision: UInt64 = 0
    /// The highest ID allocated so far. IDs only increase, except while a rewritten journal is replayed. A higher ID
    /// is certainly new, so only the others are looked up.
    private var highestID: UInt64 = 0
    private(set) var sessions: [SessionID: SessionState] = [:]
    private(set) var files: [FileID: FileState] = [:]
    private(set) var flbs: [FLBID: FLBState] = [:]
    /// The last answer on each connection, if its request must not be done twice.
    private(set) var answers: [DescriptorSlot: Answer] = [:]
    /// The usage of each user.
    private(set) var usage: [SessionUser: Usage] = [:]

    /// The sessions by age, for statuses.
    private(set) var order = SessionOrder()

    // Indexes for frequent lookups.
    private var names: [Direction: [OwnedName: SessionID]] = [:]
    private var tokens: [Token: FileID] = [:]
    private var held: Set<FileHold> = []
    private var flbNames: [FLBState.Kind: [ExactString: FLBID]] = [:]

    /// Makes an empty state.
    init() {}

    /// Makes the state that follows from events, beginning with an empty state.
    ///
    /// - Throws: as ``apply(_:)``.
    init(_ events: [Event]) throws(ArenaError) {
        // Without this, the tables would grow many times while an update's files are added.
        let count = events.reduce(0) { if case .fileAdded = $1 { $0 + 1 } else { $0 } }
        files.reserveCapacity(count)
        held.reserveCapacity(count)
        tokens.reserveCapacity(count)
        for event in events { try apply(event) }
    }

    // MARK: Questions

    func session(_ name: SessionName, _ direction: Direction, of user: SessionUser) -> SessionState? {
        names[direction]?[OwnedName(user, name)].flatMap { sessions[$0] }
    }

    func file(_ token: UInt64, in session: SessionID) -> FileState? {
        tokens[Token(session, token)].flatMap { files[$0] }
    }

    func holds(_ hold: FileHold) -> Bool { held.contains(hold) }

    /// The number of a handler's files, preserved or unfinished. Only changes to the registry need this number, and
    /// they are rare, so that no count is maintained when files are added.
    func fileCount(ofHandler compatible: String) -> Int {
        files.values.count { ExactString($0.compatible) == ExactString(compatible) }
    }

    func incomingFLB(_ compatible: String) -> FLBState? {
        flbNames[.incoming]?[ExactString(compatible)].flatMap { flbs[$0] }
    }

    /// The sessions of one direction in creation order.
    func sessions(_ direction: Direction) -> [SessionState] {
        sessions.values.filter { $0.direction == direction }.sorted { $0.id < $1.id }
    }

    func files(of session: SessionState) -> [FileState] { session.files.compactMap { files[$0] } }

    /// The slots of the descriptors that travel. A lost file has none.
    var outgoingSlots: [DescriptorSlot] {
        sessions(.outgoing).flatMap(\.files).compactMap { files[$0]?.slot }.filter { $0 != .lost }
    }

    func flbs(_ kind: FLBState.Kind) -> [FLBState] {
        flbs.values.filter { $0.kind == kind }.sorted { $0.id < $1.id }
    }

    /// The ranges of the arena that files and FLBs hold.
    var rangesInUse: [Extent] {
        files.values.flatMap(\.ranges).map(\.range) + flbs.values.flatMap(\.ranges).map(\.range)
    }

    /// Refuses numbers that no boot reaches by counting. Such a number is damage, and counting on from it would
    /// overflow.
    ///
    /// - Throws: `record`.
    func checkNumbers() throws(ArenaError) {
        guard max(nextID, updateNumber) < 1 << 62 else {
            throw ArenaError(.record, "the next number is \(nextID), in update \(updateNumber)")
        }
    }

    // MARK: Change

    /// The limit of all numbers. No boot reaches it by counting, so a number beyond it is damage.
    private static let most: UInt64 = 1 << 63

    /// - Throws: `record`, for an event that contradicts the state.
    mutating func apply(_ event: Event) throws(ArenaError) {
        if event.isAboutWhatTravels { revision += 1 }
        switch event {
        case .boot(let number, let next):
            guard number < Self.most, next <= Self.most else { throw ArenaError(.record, "a boot of number \(number)") }
            updateNumber = number
            nextID = max(nextID, next)
        case .phase(let new): phase = new
        case .sessionAdded(let session): try add(session)
        case .sessionProgress(let id, let progress): try set(id, progress)
        case .sessionRemoved(let id): try remove(id)
        case .fileAdded(let file): try add(file)
        case .fileStored(let id, let data, let ranges): try store(id, data, ranges, attestation: nil)
        case .fileAttested(let id, let offset, let ranges):
            try store(id, nil, ranges, attestation: offset)
        case .fileRetrieved(let id, let status, let slot):
            try change(id) { file in
                file.retrieved = status
                file.slot = slot
            }
            try files[id]?.checkLeftOut(.incoming)
        case .flbAdded(let flb): try add(flb)
        case .flbRetrieved(let id, let status):
            guard flbs[id] != nil else { throw Self.unknown("FLB", id.value) }
            flbs[id]?.retrieved = status
        case .flbRemoved(let id):
            guard flbs[id]?.kind == .discarded else { throw Self.unknown("discarded FLB", id.value) }
            flbs[id] = nil
        case .sessionHeld(let id, let holder): try hold(id, holder)
        case .sessionMade(let id, let maker):
            try change(id) { session in
                session.maker = maker
                session.client = maker.client
            }
        case .sessionOpened(let id, let client): try change(id) { $0.client = client }
        case .answered(let answer): answers[answer.request.connection] = answer
        case .connectionClosed(let connection): answers[connection] = nil
        case .fileRemoved(let id):
            guard let file = files[id] else { throw Self.unknown("file", id.value) }
            release(of: file)
            sessions[file.session]?.files.removeAll { $0 == id }
        }
    }

    private mutating func add(_ session: SessionState) throws(ArenaError) {
        try use(session.id.value)
        guard session.name.isValid else {
            throw ArenaError(.record, "a session's name of \(session.name.bytes.count) bytes, where 1 to 63 can be")
        }
        guard names[session.direction]?[session.ownedName] == nil else {
            throw ArenaError(.record, "a second \(session.direction) session \"\(session.name)\"")
        }
        sessions[session.id] = session
        order.insert(session.id, of: session.holder.user)
        names[session.direction, default: [:]][session.ownedName] = session.id
        usage[session.holder.user, default: Usage()].sessions += 1
    }

    /// Changes the holder of a session. The user stays the same.
    private mutating func hold(_ id: SessionID, _ holder: SessionHolder) throws(ArenaError) {
        guard let session = sessions[id] else { throw Self.unknown("session", id.value) }
        guard session.holder.user == holder.user else {
            throw ArenaError(.record, "session \"\(session.name)\" of user \(holder.user)")
        }
        sessions[id]?.holder = holder
    }

    private mutating func change(_ id: SessionID, _ body: (inout SessionState) -> Void) throws(ArenaError) {
        guard let index = sessions.index(forKey: id) else { throw Self.unknown("session", id.value) }
        body(&sessions.values[index])
    }

    private mutating func add(_ file: FileState) throws(ArenaError) {
        try use(file.id.value)
        try check(file.compatible, ofAtMost: 47)
        guard let session = sessions[file.session] else { throw Self.unknown("session", file.session.value) }
        let hold = FileHold(session.holder.user, file.identity)
        guard tokens[Token(file.session, file.token)] == nil, !file.holdsFile || !held.contains(hold) else {
            throw ArenaError(.record, "token \(file.token) or its file is there twice in \"\(session.name)\"")
        }
        try file.checkLeftOut(session.direction)
        guard file.flbs.count <= Registry.flbLimit, file.flbs.isSet else {
            throw ArenaError(.record, "a file that counts on \(file.flbs.count) FLBs, or on one of them twice")
        }
        for id in file.flbs {
            guard let flb = flbs[id], flb.kind == (session.direction == .outgoing ? .outgoing : .incoming) else {
                throw Self.unknown("\(session.direction) FLB", id.value)
            }
        }
        // An incoming FLB has its count already.
        if session.direction == .outgoing { for id in file.flbs { flbs[id]?.count += 1 } }
        files[file.id] = file
        sessions[file.session]?.files.append(file.id)
        tokens[Token(file.session, file.token)] = file.id
        if file.holdsFile { held.insert(hold) }
        usage[session.holder.user, default: Usage()].add(file)
    }

    private mutating func add(_ flb: FLBState) throws(ArenaError) {
        try use(flb.id.value)
        try check(flb.compatible, ofAtMost: 47)
        guard flb.kind != .outgoing || flb.count == 0 else {
            throw ArenaError(.record, "FLB \"\(flb.compatible)\" counts \(flb.count) files before the first")
        }
        guard flb.count < Self.most else { throw ArenaError(.record, "FLB \(flb.id.value) counts \(flb.count) files") }
        if flb.kind != .discarded {
            guard flbNames[flb.kind]?[ExactString(flb.compatible)] == nil else {
                throw ArenaError(.record, "a second \(flb.kind) FLB \"\(flb.compatible)\"")
            }
            flbNames[flb.kind, default: [:]][ExactString(flb.compatible)] = flb.id
        }
        flbs[flb.id] = flb
    }

    private func check(_ name: String, ofAtMost most: Int) throws(ArenaError) {
        guard name.isName(ofAtMost: most) else {
            throw ArenaError(.record, "a name of \(name.utf8.count) bytes, where 1 to \(most) can be")
        }
    }

    private mutating func use(_ id: UInt64) throws(ArenaError) {
        guard id < Self.most, id > highestID || !isKnown(id) else {
            throw ArenaError(.record, "number \(id) is given twice")
        }
        highestID = max(highestID, id)
        nextID = max(nextID, id + 1)
    }

    /// Replaces the ranges of a file. Nil for `data` and `attestation` leaves them as they are.
    private mutating func store(
        _ id: FileID, _ data: UInt64?, _ ranges: [StoredRange], attestation: UInt64?
    ) throws(ArenaError) {
        guard let before = files[id] else { throw Self.unknown("file", id.value) }
        try change(id) { file in
            file.data = data ?? file.data
            file.ranges = ranges
            file.attestation = attestation ?? file.attestation
        }
        try files[id]?.checkAttestation()
        guard let user = sessions[before.session]?.holder.user, let after = files[id] else { return }
        usage[user]?.remove(before)
        usage[user]?.add(after)
    }

    private func isKnown(_ id: UInt64) -> Bool {
        sessions[SessionID(value: id)] != nil || files[FileID(value: id)] != nil || flbs[FLBID(value: id)] != nil
    }

    private mutating func change(_ id: FileID, _ body: (inout FileState) -> Void) throws(ArenaError) {
        guard let index = files.index(forKey: id) else { throw Self.unknown("file", id.value) }
        body(&files.values[index])
    }

    private mutating func set(_ id: SessionID, _ progress: SessionState.Progress) throws(ArenaError) {
        guard let session = sessions[id] else { throw Self.unknown("session", id.value) }
        sessions[id]?.progress = progress
        if progress == .finished { releaseFiles(of: session) }
    }

    private mutating func remove(_ id: SessionID) throws(ArenaError) {
        guard let session = sessions[id] else { throw Self.unknown("session", id.value) }
        releaseFiles(of: session)
        sessions[id] = nil
        order.remove(id, of: session.holder.user)
        names[session.direction]?[session.ownedName] = nil
        usage[session.holder.user]?.sessions -= 1
        if usage[session.holder.user] == Usage() { usage[session.holder.user] = nil }
    }

    private mutating func releaseFiles(of session: SessionState) {
        for file in files(of: session) { release(of: file) }
        sessions[session.id]?.files = []
    }

    private mutating func release(of file: FileState) {
        files[file.id] = nil
        tokens[Token(file.session, file.token)] = nil
        if let user = sessions[file.session]?.holder.user {
            if file.holdsFile { held.remove(FileHold(user, file.identity)) }
            usage[user]?.remove(file)
        }
        for id in file.flbs { countDown(id) }
    }

    /// Removes one file from the count of an FLB. Without files, an outgoing FLB is removed, and an incoming FLB is
    /// remembered as finished.
    private mutating func countDown(_ id: FLBID) {
        guard let flb = flbs[id], flb.count > 0 else { return }
        flbs[id]?.count -= 1
        if flb.kind == .outgoing, flb.count == 1 {
            flbs[id] = nil
            flbNames[.outgoing]?[ExactString(flb.compatible)] = nil
        }
        if flb.kind == .incoming, flb.count == 1 { flbs[id]?.ranges = [] }
    }

    private static func unknown(_ what: String, _ id: UInt64) -> ArenaError {
        ArenaError(.record, "\(what) \(id) is not known")
    }

    /// The events that make this state, beginning with an empty state.
    var snapshot: [Event] {
        var events: [Event] = [.boot(updateNumber: updateNumber, nextID: nextID), .phase(phase)]
        for var flb in flbs.values.sorted(by: { $0.id < $1.id }) {
            if flb.kind == .outgoing { flb.count = 0 }
            events.append(.flbAdded(flb))
        }
        for var session in sessions.values.sorted(by: { $0.id < $1.id }) {
            let files = files(of: session)
            session.files = []
            events.append(.sessionAdded(session))
            if let maker = session.maker { events.append(.sessionMade(session.id, maker)) }
            if session.client != session.maker?.client { events.append(.sessionOpened(session.id, session.client)) }
            for file in files { events += file.added }
        }
        let last = answers.values.sorted { $0.request.connection.number < $1.request.connection.number }
        events += last.map(Event.answered)
        return events
    }
}

extension FileState {
    /// The events that add the file.
    var added: [Event] {
        attestation == 0 ? [.fileAdded(self)] : [.fileAdded(self), .fileAttested(id, attestation, ranges: ranges)]
    }
}
