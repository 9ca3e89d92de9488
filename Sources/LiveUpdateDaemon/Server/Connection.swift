import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// A socket on which requests come: one at a time, each left in the queue until it was answered, so that it is still there
/// when this process dies.
final class Connection {
    /// Whom it leads to.
    enum Peer {
        /// A client, by what the kernel said when it connected.
        case client(SessionOwner)
        /// Whoever holds an opened device: the user who opened it.
        case device(SessionOwner)
        /// Whoever holds a session.
        case session(Session)
        /// Whoever holds a session, or a device, of a boot that has ended.
        case dead
        /// Programs that run under a filter. It is no socket: only its end is waited for.
        case program(SessionOwner)
    }

    let descriptor: FileDescriptor
    let slot: DescriptorSlot
    var peer: Peer
    let asker: Asker
    /// The turn in which it was served last.
    var turn: UInt64 = 0
    /// Whether its request is answered later: nothing else is asked meanwhile.
    var isWaiting = false
    /// Where our end is kept of what was given with the last answer.
    var lastGiven: DescriptorSlot?
    /// What could not be sent yet, because the client does not read.
    var unsent: Reply?

    init(_ descriptor: FileDescriptor, _ slot: DescriptorSlot, _ peer: Peer, _ asker: Asker) {
        self.descriptor = descriptor
        self.slot = slot
        self.peer = peer
        self.asker = asker
    }
}

/// An answer, with the descriptor that goes with it.
struct Reply {
    var response: Response
    var descriptor: FileDescriptor?
    /// Whether that descriptor is only for this answer: it is closed then.
    var isOwned = false
    /// What was kept only until the answer was sent.
    var kept: DescriptorSlot?

    init(_ result: Int32, body: [UInt8] = []) { response = Response(result: result, body: body, tag: 0) }

    init(_ error: LiveUpdateError) { self.init(-error.errno.rawValue) }
}
