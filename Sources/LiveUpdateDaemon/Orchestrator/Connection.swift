import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// A socket on which requests come: one at a time, each left in the queue until it was answered, so that it is still there
/// when this process dies.
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
    var peer: Peer
    let clientID: ClientID
    /// The label of the descriptor in its slot.
    var label: KeepLabel
    /// Whether its request is answered later: nothing else is asked meanwhile.
    var isWaiting = false
    /// Whether it is not served for a moment: ``Server/postpone(_:)``.
    var isPostponed = false
    /// Whether a thread does its request, or ends its session (``LongWork``).
    var isWorking = false
    /// The descriptors of the request that a thread does.
    var descriptorsAtWork: [FileDescriptor] = []
    /// Whether its client has closed it, and the end waits.
    var hasEnded = false
    /// Whether the current request has preserved its file, so that a slot holds the file, too.
    var hasPreserved = false
    /// Where our end is kept of what was given with the last answer.
    var lastGiven: DescriptorSlot?
    /// What could not be sent yet, because the client does not read.
    var unsent: Reply?

    init(
        _ descriptor: FileDescriptor, _ slot: DescriptorSlot, _ peer: Peer, _ clientID: ClientID,
        _ label: KeepLabel
    ) {
        self.descriptor = descriptor
        self.label = label
        self.slot = slot
        self.peer = peer
        self.clientID = clientID
    }
}

/// An answer, with the descriptor that goes with it.
struct Reply {
    var response: Response
    var descriptor: FileDescriptor?
    /// Whether that descriptor is only for this answer: it is closed then.
    var isOwned = false
    /// Whether the descriptor is a copy of a descriptor in a slot. The copy is closed after the answer, too.
    var isCopy = false
    /// Whether the client did not read at first.
    var isDelayed = false
    /// What was kept only until the answer was sent.
    var kept: DescriptorSlot?
    /// The failure that this reply tells of, for a client that asks for reasons.
    private var error: LiveUpdateError?

    init(_ result: Int32, body: [UInt8] = []) { response = Response(result: result, body: body, tag: 0) }

    /// A reply with a copy of a descriptor in a slot.
    init(_ result: Int32, body: [UInt8], copy: FileDescriptor) {
        self.init(result, body: body)
        descriptor = copy
        isCopy = true
    }

    /// A reply that tells of a failure.
    init(_ error: LiveUpdateError) {
        self.init(-error.errno.rawValue)
        self.error = LuoctlRemedies.adapted(error)
    }

    /// The same reply, with the tag of its request, and the reason if the client asks for it.
    func completed(for request: Request) -> Reply {
        var reply = self
        reply.response.complete(for: request, error)
        return reply
    }

    /// The same reply, to a message that is no request.
    func completed(for malformed: Malformed) -> Reply {
        var reply = self
        reply.response.complete(for: malformed, error ?? malformed.error)
        return reply
    }
}
