import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// New connections: within the limits, and while there are descriptors.
///
/// 1. ``acceptClients()`` takes some connections out of the listener's queue. Only then is their user known.
/// 2. ``admit(_:)`` holds a connection, in its client's share of the time.
extension Server {
    /// Accepts at most this many connections at once.
    private static let mostAccepted = 16

    /// Accepts connections, and charges each to its client.
    func acceptClients() {
        guard isAccepting, let listener = store.descriptor(.listener) else { return }
        var began = monotonicNanoseconds()
        let first = began
        defer { scheduler.chargeAcceptor(began - first) }
        for _ in 0..<Self.mostAccepted {
            guard let client = acceptClient(listener) else { return }
            let now = monotonicNanoseconds()
            scheduler.charge(now - began, to: client)
            began = now
        }
        scheduler.noteListener(mayAccept: true)
    }

    /// - Returns: the client that has connected; nil when none waits, or there is no descriptor for it.
    private func acceptClient(_ listener: FileDescriptor) -> ClientID? {
        // The rest is for messages of the clients that are there.
        guard store.count + accepted.count < quota.mostWithRefused else {
            rest(SystemCallError("accept4", .tooManyOpenFiles))
            return nil
        }
        let connection: OwnedDescriptor
        do throws(SystemCallError) {
            connection = try listener.acceptConnection()
        } catch {
            // The client went, or another process took the connection: the next one is an event of its own.
            let passing: [Errno] = [.resourceTemporarilyUnavailable, .connectionAbort, .interrupted]
            if !passing.contains(error.errno) { rest(error) }
            return nil
        }
        let client = ClientID(try? connection.borrowed.peer())
        if quota.hasRoomForConnection(of: client.user, usage(of: client.user)) {
            quota.add(to: client.user)
            let descriptor = connection.release()
            accepted[descriptor] = client
            scheduler.noteAccepted(descriptor, of: client)
        } else {
            refuse(connection, of: client.user)
        }
        return client
    }

    /// Accepts connections of root and of luod's own user, which have a socket of their own, and descriptors that no other
    /// user can use up.
    func acceptRoot(_ listener: FileDescriptor) {
        for _ in 0..<Self.mostAccepted {
            guard let connection = try? listener.acceptConnection() else { return }
            let client = ClientID(try? connection.borrowed.peer())
            // The permissions of the socket let no other user connect.
            if (client.user == 0 || client.user == ownUser) && store.count + accepted.count < quota.mostWithRoot {
                quota.add(to: client.user)
                let descriptor = connection.release()
                accepted[descriptor] = client
                admit(descriptor)
            } else {
                refuse(connection, of: client.user)
            }
        }
    }

    private func refuse(_ connection: consuming OwnedDescriptor, of user: SessionOwner) {
        try? connection.borrowed.send(Response(refusingWith: -Errno.tooManyOpenFiles.rawValue).bytes)
        let refused = connection.release()
        drain(refused, of: user)
        store.close([refused], of: user)
    }

    /// Holds a connection that was accepted.
    ///
    /// - Returns: its client.
    @discardableResult
    func admit(_ connection: FileDescriptor) -> ClientID? {
        guard let client = accepted.removeValue(forKey: connection) else { return nil }
        // From here on the connection counts by itself.
        quota.remove(from: client.user)
        let slot: DescriptorSlot
        do throws(SystemCallError) {
            slot = try store.take(OwnedDescriptor(taking: connection), .client, KeepLabel(user: client.user))
        } catch {
            rest(error)
            return client
        }
        hasFoundNoRoom = false
        do {
            guard let descriptor = store.descriptor(in: slot) else { return client }
            try addClient(descriptor, slot)
        } catch {
            log.say("a connection of user \(client.user) was not accepted: \(error)")
            store.release(slot)
            store.flush()
        }
        return client
    }

    /// Holds all connections that were accepted: the next orchestrator gets only connections that are held.
    func admitAll() { for connection in accepted.keys { admit(connection) } }

    /// Takes out of an own socket that is to be closed what its client has sent. The closer can then switch off SO_LINGER of each
    /// descriptor; as a part of the queue, it would keep the close of the socket itself waiting.
    func drain(_ socket: FileDescriptor, of user: SessionOwner) {
        socket.shutDown()
        // A queue of sockets has room for some hundred messages.
        for _ in 0..<512 where store.pendingCloses(of: user) < Quota.mostPending {
            guard let message = try? socket.receive(.now) else { return }
            store.close(message.descriptors, of: user)
        }
    }

    /// The counts of a user that ``Quota`` does not have.
    func usage(of user: SessionOwner) -> Quota.Usage {
        Admission(
            user: user, isUnlimited: false, quota: quota, accepted: accepted.count, kernel: nil, store: store,
            orchestrator: orchestrator
        ).usage
    }

    /// Stops accepting until something else has happened, or for a moment. Otherwise the connections that wait would wake
    /// this process again and again.
    private func rest(_ error: SystemCallError) {
        if !hasFoundNoRoom {
            log.say("no client can connect until descriptors are free (luod --max-descriptors N, ulimit -n): \(error)")
        }
        hasFoundNoRoom = true
        accept(again: false)
    }

    func accept(again: Bool) {
        guard let listener = store.descriptor(.listener) else { return }
        isAccepting = again
        if !again { scheduler.noteListener(mayAccept: false) }
        try? poller.change(listener, to: again ? .reading : .ending)
    }
}

extension ClientID {
    /// The client of a connection, as the kernel names it.
    init(_ peer: (process: CInt, user: UInt32)?) { self.init(user: peer?.user ?? .max, process: peer?.process ?? 0) }
}
