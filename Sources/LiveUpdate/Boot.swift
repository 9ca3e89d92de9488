import Handover
import Platform
import SystemPackage

/// One life of the orchestrator: from the arena as it finds it to the update that ends it.
///
/// | what | where | guarded by |
/// |---|---|---|
/// | everything that must not be lost | ``BootState``, and the arena's journal before it | `shared` |
/// | handlers, files in flight, locks of sessions | ``Shared`` | `shared` |
/// | live objects of FLBs | ``LiveFLB`` | `flbMonitor` |
///
/// A request enters the gate, takes its session's lock, runs callbacks without any other lock (those of FLBs, and those
/// of the files of a session that ends, under the monitor), and commits all its events at once. Locks are taken in
/// that order: gate, session, monitor, `shared`, arena.
final class Boot: Sendable {
    let arena: Arena
    let descriptors: any DescriptorStore
    let opening: Orchestrator.Opening
    /// What callbacks get that may only read.
    private let reading: Storage
    let gate = RequestGate()
    let flbMonitor = Monitor()
    let shared = Guarded(Shared())
    /// Under `flbMonitor`.
    nonisolated(unsafe) var live: [FLBID: LiveFLB] = [:]

    struct Shared: Sendable {
        enum Status: Sendable {
            case unopened
            case open
            /// What came cannot be read: every open says so.
            case failed(LiveUpdateError)
            /// Frozen and published: the next boot has it all, unless this one thaws.
            case published
        }

        var status = Status.unopened
        var state = BootState()
        var registry = Registry()
        /// Files whose preserve has not returned.
        var inFlight: Set<FileHold> = []
        /// Numbers taken for what is not committed yet.
        var nextID: UInt64 = 1
        /// The lock of each session that is open, which its handles share. Not the handles: they refer to the boot.
        var locks: [SessionID: Lock] = [:]
        /// When files were frozen before this boot.
        var freeze = FreezeTime(start: 0, end: 0)
        /// Of every user but root.
        var limits = UserLimits()
        /// What was allocated beside the tree that was published, for the next boot.
        var temporaryRanges: [Extent] = []
        /// The files that were not frozen for the tree that was published.
        var unfrozen = Unfrozen()
        /// What was written ahead of an update.
        var draft: Draft?
        /// What was read ahead of taking over.
        var prepared: PreparedBoot?

        func limits(of owner: SessionOwner) -> UserLimits? { owner == 0 ? nil : limits }

        mutating func takeID() -> UInt64 {
            nextID = max(nextID, state.nextID)
            defer { nextID += 1 }
            return nextID
        }
    }

    init(arena: Arena, descriptors: any DescriptorStore, opening: Orchestrator.Opening) {
        self.arena = arena
        reading = Storage(arena)
        self.descriptors = descriptors
        self.opening = opening
    }

    // MARK: Requests

    /// Runs a request of a boot that is open: opens it first if nobody has.
    func request<Value>(
        _ kind: RequestGate.Kind, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try ensureOpen()
        return try gate.enter(kind) { () throws(LiveUpdateError) in
            try checkOpen()
            return try body()
        }
    }

    func checkOpen() throws(LiveUpdateError) {
        switch shared.with({ $0.status }) {
        case .open: return
        case .failed(let error): throw error
        case .unopened, .published: throw Self.ended
        }
    }

    static let ended = LiveUpdateError(
        .operationNotSupportedByDevice, "this boot has ended: its state was handed to the next one",
        remedy: "use the orchestrator of the next boot")

    // MARK: Committing

    /// Makes events true, all or none: in the journal first, then here.
    ///
    /// - Throws: ENOSPC, only when `acquiring` or without ``ensureRoom()``; nothing has happened then.
    func commit(_ events: [Event], acquiring: Bool = false) throws(LiveUpdateError) {
        try shared.with { (shared) throws(LiveUpdateError) in try commit(events, acquiring: acquiring, &shared) }
    }

    func commit(_ events: [Event], acquiring: Bool, _ shared: inout Shared) throws(LiveUpdateError) {
        do throws(ArenaError) {
            try arena.commit(events.map(\.record), acquiring: acquiring) { shared.state.snapshot.map(\.record) }
            for event in events { try shared.state.apply(event) }
        } catch {
            guard error.gate == .space else { preconditionFailure("an event that contradicts the state: \(error)") }
            throw LiveUpdateError(error)
        }
    }

    /// Makes sure that the commit at the end of a request cannot fail, before its callbacks are called.
    ///
    /// - Throws: ENOSPC.
    func ensureRoom(_ bytes: UInt64 = 4096) throws(LiveUpdateError) {
        try shared.with { (shared) throws(LiveUpdateError) in
            do throws(ArenaError) {
                try arena.ensureRoom(bytes) { shared.state.snapshot.map(\.record) }
            } catch {
                throw LiveUpdateError(error)
            }
        }
    }

    /// Before callbacks store something new: it must not be refused because of what is gone. At the limit they find out
    /// by themselves.
    func ensureHeadroom() {
        shared.with { shared in try? arena.ensureHeadroom { shared.state.snapshot.map(\.record) } }
    }

    // MARK: Callbacks

    func context(
        _ file: FileState, session: SessionName, storage: Storage? = nil, data: UInt64? = nil
    ) -> FileContext {
        FileContext(
            session: session, token: file.token, identity: file.identity,
            descriptor: descriptors.descriptor(in: file.slot), data: data ?? file.data,
            retrieveStatus: file.retrieved, storage: storage ?? reading, flbs: FLBGetters(boot: self))
    }

    /// The handler of a file that is held: it cannot have been unregistered.
    func handler(of file: FileState) -> any FileHandler {
        guard let entry = shared.with({ $0.registry.entry(file.compatible) }) else {
            preconditionFailure("handler \"\(file.compatible)\" is gone while it has files")
        }
        return entry.handler
    }

    /// Gives back what files held: after the commit that let go of them.
    func release(_ files: [FileState]) {
        arena.free(files.flatMap(\.ranges).map(\.range))
        for file in files { descriptors.release(file.slot) }
    }
}
