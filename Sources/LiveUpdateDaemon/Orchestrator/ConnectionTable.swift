import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// The connections, the counts of their users, and the connections that are postponed.
///
/// 1. ``add(_:_:_:_:)`` waits for events of a connection and counts it; ``remove(_:)`` ends both.
/// 2. ``change(_:to:)`` gives a connection another peer, and moves the count to the user of that peer.
/// 3. A postponed connection has no events. ``takePostponed()`` returns it, to be served again.
final class ConnectionTable {
    private let store: DescriptorMirror
    private let work: WorkQueue
    private var connections: [CInt: Connection] = [:]
    private var postponed: [Connection] = []
    /// The limits, with the number of each user's connections.
    private(set) var quota: Quota

    init(_ store: DescriptorMirror, _ work: WorkQueue, _ quota: Quota) {
        self.store = store
        self.work = work
        self.quota = quota
    }

    // MARK: Finding

    /// All connections, in no order.
    var all: some Collection<Connection> { connections.values }

    /// The connection with a descriptor.
    subscript(descriptor: FileDescriptor) -> Connection? { connections[descriptor.rawValue] }

    /// Whether a connection is still there. A descriptor with the same number may be another connection's.
    func contains(_ connection: Connection) -> Bool { self[connection.descriptor] === connection }

    // MARK: Adding and removing

    /// Adds a connection, whose descriptor is in a slot.
    ///
    /// - Throws: ENOMEM, ENOSPC. The connection is not added then.
    @discardableResult
    func add(
        _ descriptor: FileDescriptor, _ slot: DescriptorSlot, _ peer: Connection.Peer, _ clientID: ClientID
    ) throws(SystemCallError) -> Connection {
        let connection = Connection(descriptor, slot, peer, clientID, store.entry(slot)?.label ?? KeepLabel())
        try work.watch(descriptor, for: peer.isSocket ? .reading : .ending)
        connections[descriptor.rawValue] = connection
        if let user = peer.counted { quota.add(to: user) }
        return connection
    }

    /// Adds a client's connection. Root may act as another user on it: the label says which.
    ///
    /// - Throws: as ``add(_:_:_:_:)``.
    func addClient(_ descriptor: FileDescriptor, _ slot: DescriptorSlot) throws(SystemCallError) {
        let peer = try? descriptor.peer()
        let clientID = ClientID(peer)
        let acting = clientID.user == 0 ? store.entry(slot)?.label.user ?? 0 : clientID.user
        try add(descriptor, slot, .client(acting), clientID)
    }

    /// Removes a connection that is being closed. Its descriptor stays in its slot.
    ///
    /// - Returns: whether it was there.
    func remove(_ connection: Connection) -> Bool {
        guard connections.removeValue(forKey: connection.descriptor.rawValue) != nil else { return false }
        work.forget(connection)
        if let user = connection.peer.counted { quota.remove(from: user) }
        return true
    }

    // MARK: Changing

    /// Gives a connection another peer.
    func change(_ connection: Connection, to peer: Connection.Peer) {
        if let user = connection.peer.counted { quota.remove(from: user) }
        if let user = peer.counted { quota.add(to: user) }
        connection.peer = peer
    }

    /// Changes the label of a connection, here, in the store and in the keeper.
    func relabel(_ connection: Connection, _ label: KeepLabel) {
        guard connection.label != label else { return }
        connection.label = label
        store.relabel(connection.slot, label)
    }

    /// Counts a connection that is not in the table yet.
    func countAccepted(of user: SessionOwner) { quota.add(to: user) }

    /// Ends the count of ``countAccepted(of:)``.
    func discountAccepted(of user: SessionOwner) { quota.remove(from: user) }

    // MARK: Unread answers

    /// Leaves the requests of a connection in the socket's queue until the client has read the last answer, which is an
    /// event. The poller also reports one such event at once, since the client may have read the answer just now.
    func awaitReader(of connection: Connection) {
        guard !connection.awaitsReader else { return }
        connection.awaitsReader = true
        work.change(connection.descriptor, to: .beingRead)
    }

    /// Waits for requests again: the client has read the last answer.
    func endAwaiting(of connection: Connection) {
        guard connection.awaitsReader else { return }
        connection.awaitsReader = false
        work.change(connection.descriptor, to: .reading)
    }

    // MARK: Postponing

    /// Whether any connection is postponed.
    var hasPostponed: Bool { !postponed.isEmpty }

    /// Leaves the request of a connection in the socket's queue for a moment.
    func postpone(_ connection: Connection) {
        guard !connection.isPostponed else { return }
        connection.isPostponed = true
        connection.awaitsReader = false
        postponed.append(connection)
        // A connection whose client has closed it has no events any more.
        if !connection.hasEnded { work.change(connection.descriptor, to: .ending) }
    }

    /// The connections that have been postponed longest, and are still there. They are not postponed any more.
    func takePostponed() -> [Connection] {
        // Some at a time: each costs a system call.
        let some = postponed.prefix(Self.mostResumed)
        postponed.removeFirst(some.count)
        return some.filter { connection in
            guard contains(connection) else { return false }
            connection.isPostponed = false
            return true
        }
    }

    /// How many connections are served again at a time.
    private static let mostResumed = 256
}

/// A socket on which requests come: one at a time, each left in the queue until it was answered, so that it is still
/// there when this process dies.
final class Connection {
    /// The party at the other end of the connection.
    enum Peer {
        /// A client, with the user that connected, or the user that root acts as (AS_USER).
        case client(SessionOwner)
        /// A holder of an opened device: the user that opened it.
        case device(SessionOwner)
        /// A holder of a session.
        case session(Session)
        /// A holder of a session or device that has ended, and its user.
        case dead(SessionOwner)
        /// Programs that run under a filter. The descriptor is no socket, and only its end is an event.
        case program(SessionOwner)
    }

    let descriptor: FileDescriptor
    let slot: DescriptorSlot
    fileprivate(set) var peer: Peer
    let clientID: ClientID
    /// The label of the descriptor in its slot.
    fileprivate(set) var label: KeepLabel
    /// Whether its request is answered later. The client's next requests are not read meanwhile.
    private(set) var isWaiting = false
    /// Whether it is not served for a moment: ``ConnectionTable/postpone(_:)``.
    fileprivate(set) var isPostponed = false
    /// Whether its requests wait until the client has read the last answer.
    fileprivate(set) var awaitsReader = false
    /// Whether a thread does its request (``LongWork``).
    private(set) var isWorking = false
    /// The descriptors of the request that a thread does.
    private var descriptorsAtWork: [FileDescriptor] = []
    /// Whether its client has closed it, and the end waits.
    private(set) var hasEnded = false
    /// Whether its last answer was repeated, with a socket.
    private var hasRepeated = false
    /// How often its next message could not be read whole.
    private var tries = 0
    /// How many requests were done since its client has closed it.
    private var lastRequests = 0
    /// Whether the current request has preserved a memory file, which a slot holds, too.
    private var hasPreservedMemory = false
    /// The slot of luod's end of the socket that the last answer gave to the client.
    private(set) var lastGiven: DescriptorSlot?
    /// The reply that could not be sent yet, because the client does not read.
    private(set) var unsent: Reply?

    fileprivate init(
        _ descriptor: FileDescriptor, _ slot: DescriptorSlot, _ peer: Peer, _ clientID: ClientID,
        _ label: KeepLabel
    ) {
        self.descriptor = descriptor
        self.label = label
        self.slot = slot
        self.peer = peer
        self.clientID = clientID
    }

    // MARK: The current request

    /// Notes that the request is answered later.
    func beginWaiting() {
        isWaiting = true
        awaitsReader = false
    }

    /// Notes that the request is being answered.
    ///
    /// - Returns: whether it waited.
    func endWaiting() -> Bool {
        defer { isWaiting = false }
        return isWaiting
    }

    /// Notes that a thread does the request.
    func beginWork() { isWorking = true }

    /// Keeps the descriptors of the request open while a thread does it.
    func keepForWork(_ descriptors: [FileDescriptor]) { descriptorsAtWork = descriptors }

    /// Notes that the thread is done.
    ///
    /// - Returns: the descriptors of the request, which the caller closes.
    func endWork() -> [FileDescriptor] {
        defer { descriptorsAtWork = [] }
        isWorking = false
        return descriptorsAtWork
    }

    /// Notes that the request has preserved a memory file.
    func notePreservedMemory() { hasPreservedMemory = true }

    /// Ends the note of ``notePreservedMemory()``, and returns whether there was one.
    func endPreservedMemory() -> Bool {
        defer { hasPreservedMemory = false }
        return hasPreservedMemory
    }

    /// Whether a message may be read once more for which this process had no descriptors left. After some seconds another
    /// cause is likely, such as a security module, which the client must be told.
    func mayTryAgain() -> Bool {
        tries += 1
        return tries <= 1000
    }

    /// Notes that a message was read whole.
    func endTrying() { tries = 0 }

    /// Whether one more request may be done that the client sent before it closed the connection: at most 16 are.
    func beginLastRequest() -> Bool {
        lastRequests += 1
        return lastRequests <= 16
    }

    // MARK: Replies

    /// Notes that a socket was given with an answer that the client may have got from an earlier orchestrator, too.
    func noteRepeated() { hasRepeated = true }

    /// Whether the next request is served although that answer is unread: it may ask for the session whose first socket the
    /// client has closed already. Only once.
    func takeRepeated() -> Bool {
        defer { hasRepeated = false }
        return hasRepeated
    }

    /// Notes the slot of luod's end of a socket that goes with the reply.
    func noteGiven(_ slot: DescriptorSlot) { lastGiven = slot }

    /// Keeps a reply until it can be sent.
    func keepUnsent(_ reply: Reply) { unsent = reply }

    /// Takes the reply that could not be sent.
    func takeUnsent() -> Reply? {
        defer { unsent = nil }
        return unsent
    }

    /// Notes that its client has closed it, and that the end waits.
    ///
    /// - Returns: whether that was new.
    func noteEnd() -> Bool {
        defer { hasEnded = true }
        return !hasEnded
    }

    // MARK: The peer

    /// The user to charge for the connection, and for the descriptors that come with its requests.
    var user: SessionOwner { label.user }

    var hasArrived: Bool { label.traits.contains(.hasArrived) }

    var session: Session? { if case .session(let session) = peer { session } else { nil } }

    var isDead: Bool { if case .dead = peer { true } else { false } }

    /// Decodes the requests on this connection.
    var decoder: RequestDecoder { RequestDecoder(isOnSession: peer.user == nil, isOutgoing: isOutgoing) }

    var isOutgoing: Bool? { if case .session(let session) = peer { session.direction == .outgoing } else { nil } }

    var isDevice: Bool { if case .device = peer { true } else { false } }

    func id(_ request: Request) -> RequestID { RequestID(connection: slot, tag: request.tag) }

    var isProgram: Bool { if case .program = peer { true } else { false } }

    func isDevice(of user: SessionOwner) -> Bool {
        if case .device(user) = peer { true } else { false }
    }

    /// The role that IDENTIFY tells; nil for a descriptor that no client has from luod.
    var role: DescriptorRole? {
        switch peer {
        case .device: .device
        case .session(let session): session.direction == .outgoing ? .outgoing : .incoming
        case .dead: .dead
        case .client, .program: nil
        }
    }
}

extension DescriptorMirror {
    /// Closes the descriptors of a request. A close may be the last one, and sleep, if the client has closed its own
    /// copies. The close of a memory file that a slot holds, too, never sleeps.
    func close(requested descriptors: [FileDescriptor], on connection: Connection) {
        if connection.endPreservedMemory(), descriptors.count == 1 {
            try? closeDescriptor(descriptors[0])
        } else {
            close(descriptors, of: connection.user)
        }
    }
}

extension Connection.Peer {
    /// The user that makes calls of the device; nil where no such calls are made.
    var user: SessionOwner? {
        switch self {
        case .client(let user), .device(let user): user
        default: nil
        }
    }

    /// The user to charge for the connection in ``Quota``; nil for a session, which the core counts.
    var counted: SessionOwner? {
        switch self {
        case .client(let user), .device(let user), .dead(let user), .program(let user): user
        case .session: nil
        }
    }

    var isSocket: Bool { if case .program = self { false } else { true } }
}

/// The client of a request, and the user that it acts as.
struct Client {
    var user: SessionOwner
    var connection: Connection

    /// Whether the client is root, also when it acts as another user.
    var isUnlimited: Bool { connection.label.traits.contains(.isUnlimited) }

    func id(_ request: Request) -> RequestID { connection.id(request) }
}
