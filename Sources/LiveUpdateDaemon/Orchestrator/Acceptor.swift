// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// Accepts new connections, within the limits and while there are descriptors.
///
/// 1. ``accept()`` takes several connections out of the listener's queue. Only then is their user known.
/// 2. ``admit(_:)`` holds a connection, in its client's share of the time.
/// 3. Without a descriptor for the next connection, the acceptor rests until another event has happened.
final class Acceptor {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let work: WorkQueue
    private let log: Log
    /// Connections that were accepted and are not held yet.
    private var accepted: [FileDescriptor: ClientID] = [:]
    /// Whether there was no descriptor for the next connection.
    private var isResting = false
    /// Whether the log already says that the acceptor rests.
    private var hasSaidNoRoom = false

    /// The most connections that are accepted at once.
    private static let mostAccepted = 16

    init(
        _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ connections: ConnectionTable, _ work: WorkQueue,
        _ log: Log
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.connections = connections
        self.work = work
        self.log = log
    }

    /// The number of connections that were accepted and are not held yet.
    var count: Int { accepted.count }

    /// The longest time that the acceptor can rest without an event, in milliseconds; nil: no limit.
    var patience: CInt? { isResting ? 2 : nil }

    // MARK: Accepting

    /// Accepts connections, and charges each to its client.
    func accept() {
        guard !isResting, let listener = store.descriptor(.listener) else { return }
        var clock = WorkClock(isShared: work.isShared)
        var all: UInt64 = 0
        defer { work.chargeAcceptor(all) }
        for _ in 0..<Self.mostAccepted {
            guard let client = acceptClient(listener) else { return }
            let used = clock.lap()
            work.charge(used, to: client)
            all += used
        }
        work.noteListener(mayAccept: true)
    }

    /// - Returns: the client that has connected; nil when none waits, or when there is no descriptor for it.
    private func acceptClient(_ listener: FileDescriptor) -> ClientID? {
        // The other descriptors are for messages of the connected clients.
        guard store.count + accepted.count < connections.quota.mostWithRefused else {
            rest(SystemCallError("accept4", .tooManyOpenFiles))
            return nil
        }
        let connection: OwnedDescriptor
        do throws(SystemCallError) {
            connection = try listener.acceptConnection()
        } catch {
            // The client has gone, or another process took the connection. The next connection is an event of its own.
            let passing: [Errno] = [.resourceTemporarilyUnavailable, .connectionAbort, .interrupted]
            if !passing.contains(error.errno) { rest(error) }
            return nil
        }
        let client = ClientID(try? connection.borrowed.peer())
        if connections.quota.hasRoomForConnection(of: client.user, usage(of: client.user)) {
            work.noteAccepted(add(connection, client), of: client)
        } else {
            refuse(connection, of: client.user)
        }
        return client
    }

    /// Accepts connections of root and of luod's own user. They have a socket of their own, and descriptors that no
    /// other user can use up.
    func acceptRoot(_ listener: FileDescriptor) {
        for _ in 0..<Self.mostAccepted {
            guard let connection = try? listener.acceptConnection() else { return }
            admitRoot(connection)
        }
    }

    /// Holds a connection of root or of luod's own user.
    func admitRoot(_ connection: consuming OwnedDescriptor) {
        let client = ClientID(try? connection.borrowed.peer())
        let hasRoom = store.count + accepted.count < connections.quota.mostWithRoot
        // The permissions of the socket prevent other users from connecting.
        if hasRoom && (client.user == 0 || client.user == geteuid()) {
            admit(add(connection, client))
        } else {
            refuse(connection, of: client.user)
        }
    }

    private func add(_ connection: consuming OwnedDescriptor, _ client: ClientID) -> FileDescriptor {
        connections.countAccepted(of: client.user)
        let descriptor = connection.release()
        accepted[descriptor] = client
        return descriptor
    }

    private func refuse(_ connection: consuming OwnedDescriptor, of user: SessionUser) {
        try? connection.borrowed.send(Response(refusingWith: -Errno.tooManyOpenFiles.rawValue).bytes)
        let refused = connection.release()
        store.drain(refused, of: user)
        store.close(ownSocket: refused, of: user)
    }

    private func usage(of user: SessionUser) -> Quota.Usage {
        Quota.Usage(of: user, store, orchestrator, accepted: accepted.count)
    }

    // MARK: Holding

    /// Holds an accepted connection.
    ///
    /// - Returns: the client of the connection.
    @discardableResult
    func admit(_ connection: FileDescriptor) -> ClientID? {
        guard let client = accepted.removeValue(forKey: connection) else { return nil }
        // From now on the connection is counted by the table.
        connections.discountAccepted(of: client.user)
        let slot: DescriptorSlot
        do throws(SystemCallError) {
            slot = try store.take(OwnedDescriptor(taking: connection), .client, DescriptorLabel(user: client.user))
        } catch {
            rest(error)
            return client
        }
        hasSaidNoRoom = false
        do {
            guard let descriptor = store.descriptor(in: slot) else { return client }
            try connections.addClient(descriptor, slot)
        } catch {
            log.say("a connection of user \(client.user) was not accepted: \(error)", .warning)
            store.release(now: [slot])
        }
        return client
    }

    /// Holds all accepted connections, because the next orchestrator gets only held connections.
    func admitAll() { for connection in accepted.keys { admit(connection) } }

    // MARK: Resting

    /// Stops accepting until another event has happened, or for a moment. Otherwise the waiting connections would wake
    /// this process again and again.
    private func rest(_ error: SystemCallError) {
        if !hasSaidNoRoom {
            log.say(
                "no client can connect until descriptors are free (luod --max-descriptors N, ulimit -n): \(error)",
                .warning)
        }
        hasSaidNoRoom = true
        guard let listener = store.descriptor(.listener) else { return }
        isResting = true
        work.noteListener(mayAccept: false)
        work.change(listener, to: .ending)
    }

    /// Accepts again after a rest.
    func resume() {
        guard isResting, let listener = store.descriptor(.listener) else { return }
        isResting = false
        work.change(listener, to: .reading)
    }
}

extension ClientID {
    /// The client of a connection, from the kernel's record of its peer.
    init(_ peer: (process: CInt, user: UInt32)?) { self.init(user: peer?.user ?? .max, process: peer?.process ?? 0) }
}
