// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The connections, the counts of their users, and the postponed connections.
///
/// 1. ``add(_:_:_:_:)`` counts a connection and begins to wait for its events. ``remove(_:)`` ends both.
/// 2. ``change(_:to:)`` gives a connection another peer, and moves the count to the user of that peer.
/// 3. A postponed connection has no events. ``takePostponed()`` returns it, so that it is served again.
final class ConnectionTable {
    private let store: DescriptorMirror
    private let work: WorkQueue
    private var connections: [CInt: Connection] = [:]
    private var postponed: [Connection] = []
    /// The limits, with the number of each user's connections.
    private(set) var quota: Quota
    /// The number of subscribers (``Subscribers``) that have lost their session so far.
    private(set) var lostSubscribers: UInt64 = 0

    init(_ store: DescriptorMirror, _ work: WorkQueue, _ quota: Quota) {
        self.store = store
        self.work = work
        self.quota = quota
    }

    // MARK: Finding

    /// All connections, in no particular order.
    var all: some Collection<Connection> { connections.values }

    /// The connection with a descriptor.
    subscript(descriptor: FileDescriptor) -> Connection? { connections[descriptor.rawValue] }

    /// Whether a connection is still in the table. A descriptor with the same number may belong to another connection.
    func contains(_ connection: Connection) -> Bool { self[connection.descriptor] === connection }

    // MARK: Adding and removing

    /// Adds a connection with its descriptor, which is in a slot.
    ///
    /// - Throws: ENOMEM, ENOSPC. The connection is not added in these cases.
    @discardableResult
    func add(
        _ descriptor: FileDescriptor, _ slot: DescriptorSlot, _ peer: Connection.Peer, _ clientID: ClientID
    ) throws(SystemCallError) -> Connection {
        let connection = Connection(descriptor, slot, peer, clientID, store.entry(slot)?.label ?? DescriptorLabel())
        try work.watch(descriptor, for: peer.isSocket ? .reading : .ending)
        connections[descriptor.rawValue] = connection
        if let user = peer.counted { quota.add(to: user) }
        return connection
    }

    /// Adds a client's connection. The label gives the user, because root may act as another user on it.
    ///
    /// - Throws: like ``add(_:_:_:_:)``.
    func addClient(_ descriptor: FileDescriptor, _ slot: DescriptorSlot) throws(SystemCallError) {
        let peer = try? descriptor.peer()
        let clientID = ClientID(peer)
        let acting = clientID.user == 0 ? store.entry(slot)?.label.user ?? 0 : clientID.user
        try add(descriptor, slot, .client(acting), clientID)
    }

    /// Removes a connection that is being closed. Its descriptor stays in its slot.
    ///
    /// - Returns: whether it was in the table.
    func remove(_ connection: Connection) -> Bool {
        guard connections.removeValue(forKey: connection.descriptor.rawValue) != nil else { return false }
        work.forget(connection)
        if connection.isSubscriber { lostSubscribers += 1 }
        if let user = connection.peer.counted { quota.remove(from: user) }
        return true
    }

    // MARK: Changing

    /// Gives a connection another peer.
    func change(_ connection: Connection, to peer: Connection.Peer) {
        if let user = connection.peer.counted { quota.remove(from: user) }
        if let user = peer.counted { quota.add(to: user) }
        if connection.isSubscriber { lostSubscribers += 1 }
        connection.peer = peer
    }

    /// Changes the label of a connection, here, in the store and in the keeper.
    func relabel(_ connection: Connection, _ label: DescriptorLabel) {
        guard connection.label != label else { return }
        connection.label = label
        store.relabel(connection.slot, label)
    }

    /// Counts a connection that is not in the table yet.
    func countAccepted(of user: SessionUser) { quota.add(to: user) }

    /// Ends the count of ``countAccepted(of:)``.
    func discountAccepted(of user: SessionUser) { quota.remove(from: user) }

    // MARK: Unread answers

    /// Leaves the requests of a connection in the socket's queue until the client has read the last answer, which is an
    /// event. The poller also reports one such event at once, because the client may have read the answer just now.
    func awaitReader(of connection: Connection) {
        guard !connection.awaitsReader else { return }
        connection.awaitsReader = true
        work.change(connection.descriptor, to: .beingRead)
    }

    /// Waits for requests again, because the client has read the last answer.
    func endAwaiting(of connection: Connection) {
        guard connection.awaitsReader else { return }
        connection.awaitsReader = false
        work.change(connection.descriptor, to: .reading)
    }

    // MARK: Postponing

    /// The number of postponed connections.
    var postponedCount: Int { postponed.count }

    /// Whether any connection is postponed.
    var hasPostponed: Bool { !postponed.isEmpty }

    /// Leaves the request of a connection in the socket's queue for a moment.
    func postpone(_ connection: Connection) {
        guard !connection.isPostponed else { return }
        connection.isPostponed = true
        connection.awaitsReader = false
        postponed.append(connection)
        // When the client has closed the connection, the poller does not watch it any more.
        if !connection.hasEnded { work.change(connection.descriptor, to: .ending) }
    }

    /// Returns the connections that have been postponed longest and are still in the table. They are no longer
    /// postponed.
    func takePostponed() -> [Connection] {
        // Only some at a time, because each costs a system call.
        let some = postponed.prefix(Self.mostResumed)
        postponed.removeFirst(some.count)
        return some.filter { connection in
            guard contains(connection) else { return false }
            connection.isPostponed = false
            return true
        }
    }

    /// The most postponed connections that are served again at a time.
    private static let mostResumed = 256
}

/// A socket with requests. luod does one request at a time, and leaves it in the queue until it is answered. The
/// request is thus still there after this process dies.
final class Connection {
    /// The party at the other end of the connection.
    enum Peer {
        /// A client. The user is the one that connected, or the one that root acts as (AS_USER).
        case client(SessionUser)
        /// A holder of an opened device, and the user that opened it.
        case device(SessionUser)
        /// A holder of a session.
        case session(Session)
        /// A holder of a session or device that has ended, and its user.
        case dead(SessionUser)
        /// Programs that run under a filter. The descriptor is no socket, and only its end is an event.
        case program(SessionUser)
    }

    let descriptor: FileDescriptor
    let slot: DescriptorSlot
    fileprivate(set) var peer: Peer
    let clientID: ClientID
    /// The client of the sessions that are opened on the connection; nil when its process is unknown. The command's
    /// name is read only once, when the first session is opened.
    private(set) lazy var sessionClient: SessionClient? =
        clientID.process == 0
        ? nil : SessionClient(process: clientID.process, command: commandBytes(of: clientID.process))
    /// The label of the descriptor in its slot.
    fileprivate(set) var label: DescriptorLabel
    /// Whether the current request is answered later. The client's next requests are not read until then.
    private(set) var isWaiting = false
    /// Whether the connection is not served for a moment: ``ConnectionTable/postpone(_:)``.
    fileprivate(set) var isPostponed = false
    /// Whether the requests wait until the client has read the last answer.
    fileprivate(set) var awaitsReader = false
    /// Whether a thread does the request (``LongWork``).
    private(set) var isWorking = false
    /// The descriptors of the request that a thread does.
    private var descriptorsAtWork: [FileDescriptor] = []
    /// Whether the client has closed the connection, and its end waits.
    private(set) var hasEnded = false
    /// Whether the last answer was a repeated one with a socket.
    private var hasRepeated = false
    /// Whether the client has looked at files of the session.
    private(set) var hasLooked = false
    /// The number of attempts to read the next message completely.
    private var tries = 0
    /// The number of requests that were done after the client has closed the connection.
    private var lastRequests = 0
    /// Whether the current request has preserved a memory file, so that a slot holds the file, too.
    private var hasPreservedMemory = false
    /// The slot of luod's end of the socket that the last answer gave to the client.
    private(set) var lastGiven: DescriptorSlot?
    /// The reply that could not be sent yet, because the client does not read.
    private(set) var unsent: Reply?

    fileprivate init(
        _ descriptor: FileDescriptor, _ slot: DescriptorSlot, _ peer: Peer, _ clientID: ClientID,
        _ label: DescriptorLabel
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

    /// Notes that a thread does the request now.
    func beginWork() { isWorking = true }

    /// Holds the descriptors of the request open while a thread does it.
    func keepForWork(_ descriptors: [FileDescriptor]) { descriptorsAtWork = descriptors }

    /// Notes that the thread has finished.
    ///
    /// - Returns: the descriptors of the request. The caller must close them.
    func endWork() -> [FileDescriptor] {
        defer { descriptorsAtWork = [] }
        isWorking = false
        return descriptorsAtWork
    }

    /// Notes that the request has preserved a memory file.
    func notePreservedMemory() { hasPreservedMemory = true }

    /// Clears the note of ``notePreservedMemory()``, and returns whether it was set.
    func endPreservedMemory() -> Bool {
        defer { hasPreservedMemory = false }
        return hasPreservedMemory
    }

    /// Whether to read a message again after this process had no descriptors left for it. After some seconds another
    /// cause is likely, such as a security module, and the client must be told.
    func mayTryAgain() -> Bool {
        tries += 1
        return tries <= 1000
    }

    /// Notes that a message was read completely.
    func endTrying() { tries = 0 }

    /// Whether one more request may be done that the client sent before it closed the connection. At most 16 may.
    func beginLastRequest() -> Bool {
        lastRequests += 1
        return lastRequests <= 16
    }

    // MARK: Replies

    /// Notes that an answer with a socket was sent, and that an earlier orchestrator may have sent the same answer.
    func noteRepeated() { hasRepeated = true }

    /// Whether the next request is served although that answer is unread. It may ask for the session of the first
    /// socket, which the client has already closed. This is true only once.
    func takeRepeated() -> Bool {
        defer { hasRepeated = false }
        return hasRepeated
    }

    /// Notes the slot of luod's end of the socket in the reply.
    func noteGiven(_ slot: DescriptorSlot) { lastGiven = slot }

    /// Stores a reply until it can be sent.
    func keepUnsent(_ reply: Reply) { unsent = reply }

    /// Returns the reply that could not be sent, and forgets it.
    func takeUnsent() -> Reply? {
        defer { unsent = nil }
        return unsent
    }

    /// Notes that the client has closed the connection, and that the end waits.
    ///
    /// - Returns: whether this was not noted before.
    func noteEnd() -> Bool {
        defer { hasEnded = true }
        return !hasEnded
    }

    /// Notes that the client has looked at a file of the session.
    func noteLook() { hasLooked = true }

    // MARK: The peer

    /// The user to charge for the connection, and for the descriptors in its requests.
    var user: SessionUser { label.user }

    var hasArrived: Bool { label.traits.contains(.hasArrived) }

    var session: Session? { if case .session(let session) = peer { session } else { nil } }

    var isDead: Bool { if case .dead = peer { true } else { false } }

    /// Decodes the requests on this connection.
    var decoder: RequestDecoder { RequestDecoder(isOnSession: peer.user == nil, isOutgoing: isOutgoing) }

    var isOutgoing: Bool? { if case .session(let session) = peer { session.direction == .outgoing } else { nil } }

    var isDevice: Bool { if case .device = peer { true } else { false } }

    func id(_ request: Request) -> RequestID { RequestID(connection: slot, tag: request.tag) }

    var isProgram: Bool { if case .program = peer { true } else { false } }

    func isDevice(of user: SessionUser) -> Bool {
        if case .device(user) = peer { true } else { false }
    }

    /// The role in the answer to IDENTIFY; nil for a descriptor that luod gives to no client.
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
    /// Closes the descriptors of a request. If the client has closed its own copies, a close may be the last one, and
    /// sleep. The close of a memory file never sleeps while a slot holds the file, too.
    func close(requested descriptors: [FileDescriptor], on connection: Connection) {
        if connection.endPreservedMemory(), descriptors.count == 1 {
            try? closeDescriptor(descriptors[0])
        } else {
            close(descriptors, of: connection.user)
        }
    }
}

extension Connection.Peer {
    /// The user for calls of the device; nil for a peer that makes no such calls.
    var user: SessionUser? {
        switch self {
        case .client(let user), .device(let user): user
        default: nil
        }
    }

    /// The user to charge for the connection in ``Quota``; nil for a session, because the core counts sessions.
    var counted: SessionUser? {
        switch self {
        case .client(let user), .device(let user), .dead(let user), .program(let user): user
        case .session: nil
        }
    }

    var isSocket: Bool { if case .program = self { false } else { true } }
}

/// The client of a request, and the user that it acts as.
struct Client {
    var user: SessionUser
    var connection: Connection

    /// Whether the client is root, even if it acts as another user.
    var isUnlimited: Bool { connection.label.traits.contains(.isUnlimited) }

    func id(_ request: Request) -> RequestID { connection.id(request) }
}
