// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// An answer with its descriptor.
struct Reply {
    var response: Response
    var descriptor: FileDescriptor?
    /// Whether the descriptor is only for this answer, so that it is closed afterwards.
    var isOwned = false
    /// Whether the descriptor is a copy of a descriptor in a slot. The copy is closed after the answer, too.
    var isCopy = false
    /// Whether the reply could not be sent at once.
    var isDelayed = false
    /// A slot that is held only until the answer was sent.
    var kept: DescriptorSlot?
    /// The failure in this reply, for a client that asks for reasons.
    private var error: LiveUpdateError?

    init(_ result: Int32, body: [UInt8] = []) { response = Response(result: result, body: body, tag: 0) }

    /// A reply with a copy of a descriptor in a slot.
    init(_ result: Int32, body: [UInt8], copy: consuming OwnedDescriptor) {
        self.init(result, body: body)
        descriptor = copy.release()
        isCopy = true
    }

    /// A reply about a failure.
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

    /// The same reply, to a message that is not a request.
    func completed(for malformed: Malformed) -> Reply {
        var reply = self
        reply.response.complete(for: malformed, error ?? malformed.error)
        return reply
    }
}

/// Sends replies, and then releases the descriptors that each reply has held.
///
/// 1. The request of a reply stays in its socket's queue until the reply was sent.
/// 2. A client that does not read is not served until the rest of its reply was sent: ``sendRest(to:)``.
final class ReplySender {
    private let store: DescriptorMirror
    private let connections: ConnectionTable
    private let work: WorkQueue

    init(_ store: DescriptorMirror, _ connections: ConnectionTable, _ work: WorkQueue) {
        self.store = store
        self.connections = connections
        self.work = work
    }

    /// Leaves a connection's request unread in its queue until it is answered.
    func wait(_ connection: Connection) {
        connection.beginWaiting()
        work.change(connection.descriptor, to: .ending)
    }

    func send(_ reply: Reply, to connection: Connection) {
        // A client that has gone meanwhile is not answered, because its descriptor's number may belong to another
        // client.
        guard connections.contains(connection) else { return finish(reply, of: connection.user) }
        if connection.endWaiting() { work.change(connection.descriptor, to: .reading) }
        do throws(SystemCallError) {
            try connection.descriptor.sendBeyondLimit(
                reply.response.bytes, reply.descriptor.map { [$0] } ?? [])
        } catch {
            if error.errno == .resourceTemporarilyUnavailable || error.isShortage {
                return sendLater(reply, connection, error)
            }
            // The client has gone, and the poller will report its end.
        }
        try? connection.descriptor.discardMessage()
        finish(reply, of: connection.user)
    }

    private func sendLater(_ reply: Reply, _ connection: Connection, _ error: SystemCallError) {
        var reply = reply
        reply.isDelayed = true
        connection.keepUnsent(reply)
        if error.isShortage {
            connections.postpone(connection)
        } else {
            work.change(connection.descriptor, to: .writing)
        }
    }

    /// Sends a reply that could not be sent before.
    func sendRest(to connection: Connection) {
        guard let reply = connection.takeUnsent() else { return }
        work.change(connection.descriptor, to: .reading)
        send(reply, to: connection)
    }

    /// Drops a reply that no client reads. If `isAnswered` is true, the request is taken out of the queue, too.
    func dropUnsent(of connection: Connection, isAnswered: Bool) {
        guard let reply = connection.takeUnsent() else { return }
        if isAnswered { try? connection.descriptor.discardMessage() }
        finish(reply, of: connection.user)
    }

    private func finish(_ reply: Reply, of user: SessionUser) {
        if let descriptor = reply.descriptor {
            if reply.isOwned { try? closeDescriptor(descriptor) }
            // After a delay, no slot may hold the file any more.
            if reply.isCopy {
                if reply.isDelayed {
                    store.close([descriptor], of: user)
                } else {
                    store.close(copy: descriptor, of: user)
                }
            }
        }
        if let kept = reply.kept { store.release(kept) }
        store.flush()
    }
}
