// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// One life of the orchestrator's state, from the opening of an arena to the update that ends the boot.
///
/// | state | place | guarded by |
/// |---|---|---|
/// | everything that must not be lost | ``BootState``, and the arena's journal before it | a lock of the boot |
/// | handlers, files in flight, locks of sessions | the boot | the same |
/// | live objects of FLBs, and their loans | ``FLBTable`` | its monitor |
/// | the draft of an update, and the published tree | ``UpdatePlan`` | its lock |
///
/// A request (Requests/) enters the request lock, takes its session's lock, runs callbacks, and commits all its
/// events at once.
/// The callbacks of FLBs, and those of the files of a session that ends, run under the monitor. All other callbacks run
/// without a further lock. Locks are taken in the order request lock, session, monitor, boot, arena.
final class Boot: Sendable {
    let arena: Arena
    let descriptors: any DescriptorStore
    let opening: Orchestrator.Opening
    /// The arena for callbacks that may only read.
    let reading: Storage
    let requestLock = RequestLock()
    let flbs = FLBTable()
    let plan = UpdatePlan()
    private let shared = Guarded(Shared())

    enum Stage: Sendable {
        case unopened
        /// Open, and not confirmed: the old boot may still thaw. Every request fails with EAGAIN until the trial ends.
        case trial
        case open
        /// The arena's state cannot be read. Every open throws this error.
        case failed(LiveUpdateError)
        /// Frozen and published: the next boot has the state, unless this boot thaws.
        case published
    }

    private struct Shared: Sendable {
        var stage = Stage.unopened
        var state = BootState()
        var registry = Registry()
        /// Files with a preserve that has not returned.
        var inFlight: Set<FileHold> = []
        /// The next ID to give. It is ahead of the state's while events with IDs are not committed yet.
        var nextID: UInt64 = 1
        /// The lock of each open session, which all handles of the session share. The handles are not stored here,
        /// because they refer to the boot.
        var locks: [SessionID: Lock] = [:]
        /// The time of the freeze before this boot.
        var freeze = FreezeTime(start: 0, end: 0)
        /// The limits of every user but root.
        var limits = UserLimits()
    }

    init(arena: Arena, descriptors: any DescriptorStore, opening: Orchestrator.Opening) {
        self.arena = arena
        reading = Storage(arena)
        self.descriptors = descriptors
        self.opening = opening
    }

    // MARK: Requests

    /// Runs a request, and opens the boot first if it is not open yet.
    func request<Value: ~Copyable>(
        _ kind: RequestLock.Kind, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try ensureOpen()
        return try requestLock.enter(kind) { () throws(LiveUpdateError) in
            try checkOpen()
            return try body()
        }
    }

    func checkOpen() throws(LiveUpdateError) {
        switch stage {
        case .open: return
        case .failed(let error): throw error
        case .trial: throw Self.waiting
        case .unopened, .published: throw Self.ended
        }
    }

    static let waiting = LiveUpdateError(
        .resourceTemporarilyUnavailable, "this boot has not begun: the old process still serves",
        remedy: "call ready() first, which returns when the old process has handed over")

    static let ended = LiveUpdateError(
        .operationNotSupportedByDevice, "this boot has ended: its state was handed to the next one",
        remedy: "use the orchestrator of the next boot")

    // MARK: Looking

    var stage: Stage { shared.with { $0.stage } }
    var registry: Registry { shared.with { $0.registry } }
    /// The time of the freeze before this boot.
    var freeze: FreezeTime { shared.with { $0.freeze } }

    /// Returns the result of `body` for the present state. `body` must not call the boot.
    func read<Value>(_ body: (BootState) -> Value) -> Value { shared.with { body($0.state) } }

    /// The limits of a user; nil for root.
    func limits(of user: SessionUser) -> UserLimits? { user == 0 ? nil : shared.with { $0.limits } }

    /// The state of the session that a handle refers to; nil when it was closed.
    func state(of handle: Session) -> SessionState? {
        shared.with { $0.locks[handle.id] === handle.lock ? $0.state.sessions[handle.id] : nil }
    }

    /// The lock of a session; nil while it is not open.
    func lock(of session: SessionID) -> Lock? { shared.with { $0.locks[session] } }

    /// All sessions that are open, oldest first.
    func openHandles() -> [Session] {
        shared.with { shared in
            let open = shared.locks.compactMap { id, lock in shared.state.sessions[id].map { ($0, lock) } }
            return open.sorted { $0.0.id < $1.0.id }.map { Session($0.0, $0.1, self) }
        }
    }

    // MARK: Changing

    /// Takes a state with which the boot begins or goes on.
    func adopt(_ state: BootState) {
        flbs.adopt(state, registry)
        shared.with { shared in
            shared.state = state
            shared.stage = opening == .onTrial && state.phase == .booting ? .trial : .open
            for session in state.sessions.values where session.progress != .waiting {
                shared.locks[session.id] = Lock()
            }
        }
    }

    func setStage(_ stage: Stage) { shared.with { $0.stage = stage } }

    func setFreeze(_ freeze: FreezeTime) { shared.with { $0.freeze = freeze } }

    func setLimits(_ limits: UserLimits) { shared.with { $0.limits = limits } }

    /// Changes the registry while no request is inside, before the first open as well as after it.
    ///
    /// - Parameter body: gets the number of files that are preserved or unfinished, by compatible string.
    /// - Throws: ENODEV when the boot has ended, and the errors of `body`.
    func change(
        _ body: (inout Registry, (String) -> Int) throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) {
        try requestLock.enter(.exclusive) { () throws(LiveUpdateError) in
            try shared.with { (shared) throws(LiveUpdateError) in
                if case .published = shared.stage { throw Self.ended }
                let state = shared.state
                try body(&shared.registry) { state.fileCount(ofHandler: $0) }
            }
        }
    }

    /// Takes an ID that this boot has not given before.
    func takeID() -> UInt64 {
        shared.with { shared in
            shared.nextID = max(shared.nextID, shared.state.nextID)
            defer { shared.nextID += 1 }
            return shared.nextID
        }
    }

    /// Reserves a file for the time of its preserve, until ``endReservation(_:)``.
    ///
    /// - Returns: false when the file is held already.
    func reserve(_ hold: FileHold) -> Bool {
        shared.with { !$0.state.holds(hold) && $0.inFlight.insert(hold).inserted }
    }

    func endReservation(_ hold: FileHold) { shared.with { _ = $0.inFlight.remove(hold) } }

    /// Closes all handles of a session.
    func closeHandles(of session: SessionID) { shared.with { $0.locks[session] = nil } }

    // MARK: Committing

    /// Commits events, all or none: to the journal first, and then to the state.
    ///
    /// - Throws: ENOSPC, only when `acquiring` or without ``ensureRoom()``. Nothing has changed then.
    func commit(_ events: [Event], acquiring: Bool = false) throws(LiveUpdateError) {
        try commit(acquiring: acquiring) { _ in events }
    }

    /// Commits the events that `body` derives from the present state. No other commit comes in between.
    ///
    /// - Throws: the errors of `body`, and as ``commit(_:acquiring:)``. `body` must not call the boot.
    func commit(
        acquiring: Bool, _ body: (BootState) throws(LiveUpdateError) -> [Event]
    ) throws(LiveUpdateError) {
        try shared.with { (shared) throws(LiveUpdateError) in
            try commit(try body(shared.state), acquiring: acquiring, &shared)
        }
    }

    /// Commits as ``commit(acquiring:_:)`` does, and opens the session that `body` returns.
    func openSession(
        acquiring: Bool, _ body: (BootState) throws(LiveUpdateError) -> (SessionState, [Event])
    ) throws(LiveUpdateError) -> Session {
        try shared.with { (shared) throws(LiveUpdateError) in
            let (session, events) = try body(shared.state)
            try commit(events, acquiring: acquiring, &shared)
            let lock = Lock()
            shared.locks[session.id] = lock
            return Session(session, lock, self)
        }
    }

    private func commit(_ events: [Event], acquiring: Bool, _ shared: inout Shared) throws(LiveUpdateError) {
        do throws(ArenaError) {
            try arena.commit(events.map(\.record), acquiring: acquiring) { shared.state.snapshot.map(\.record) }
            for event in events { try shared.state.apply(event) }
        } catch {
            guard error.gate == .space else { preconditionFailure("an event that contradicts the state: \(error)") }
            throw LiveUpdateError(error)
        }
    }

    /// Commits an event if the journal has room for it. Without room, the event changes only the state in memory, and
    /// the next process that opens the arena finds the change out by itself.
    func note(_ event: Event) {
        do throws(LiveUpdateError) {
            try commit([event])
        } catch {
            shared.with { shared in try? shared.state.apply(event) }
        }
    }

    /// Makes room for the commit at the end of a request, before the request calls its callbacks, so that the commit
    /// cannot fail.
    ///
    /// - Throws: ENOSPC.
    func ensureRoom() throws(LiveUpdateError) {
        try shared.with { (shared) throws(LiveUpdateError) in
            do throws(ArenaError) {
                try arena.ensureRoom(4096) { shared.state.snapshot.map(\.record) }
            } catch {
                throw LiveUpdateError(error)
            }
        }
    }

    /// Makes room before callbacks store something new, so that no callback is refused because of old records. At the
    /// arena's limit this does nothing, and the callbacks fail by themselves.
    func ensureHeadroom() {
        shared.with { shared in try? arena.ensureHeadroom { shared.state.snapshot.map(\.record) } }
    }

    // MARK: Callbacks

    var flbGetters: FLBGetters { FLBGetters(boot: self) }

    func context(
        _ file: FileState, session: SessionName, storage: Storage? = nil
    ) -> FileContext {
        FileContext(
            session: session, token: file.token, identity: file.identity,
            descriptor: descriptors.descriptor(in: file.slot), data: file.data,
            retrieveStatus: file.retrieved, storage: storage ?? reading, flbs: flbGetters)
    }

    /// The handler of a file. A handler with files cannot be unregistered, so it is there.
    func handler(of file: FileState) -> any FileHandler {
        guard let entry = registry.entry(file.compatible) else {
            preconditionFailure("handler \"\(file.compatible)\" is gone while it has files")
        }
        return entry.handler
    }

    /// Releases the ranges and descriptors of files, after the commit that removed the files.
    func release(_ files: [FileState]) {
        arena.free(files.flatMap(\.ranges).map(\.range))
        for file in files { descriptors.release(file.slot) }
    }
}
