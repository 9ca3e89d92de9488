// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// Finds the connections and sessions that another orchestrator has left, and orphans: held descriptors that the
/// journal does not name.
final class Resumption {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let sessions: SessionTable
    private let closer: ConnectionCloser
    /// Whether there may be orphans. The loop looks for orphans when it has nothing else to do.
    private(set) var mayHaveOrphans = false

    init(
        _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ connections: ConnectionTable,
        _ sessions: SessionTable, _ closer: ConnectionCloser
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.connections = connections
        self.sessions = sessions
        self.closer = closer
    }

    /// Finds the connections and sessions again.
    func resume() throws {
        let held = takeSessions()
        for slot in store.slots(.session) { try resumeSession(in: slot, held[slot]) }
        try resumePrograms()
        for slot in store.slots(.client) {
            guard let descriptor = store.descriptor(in: slot) else { continue }
            try connections.addClient(descriptor, slot)
        }
        // The answer belongs to a connection of an earlier keeper. Its slot will hold another descriptor later.
        for slot in (try? orchestrator.answeredConnections) ?? [] where store.entry(slot) == nil {
            orchestrator.forget(slot)
        }
        try renewUnsentSessions()
        mayHaveOrphans = true
    }

    // MARK: Connections

    /// The open sessions that clients hold, by slot. The other open sessions wait for an attach, or end.
    private func takeSessions() -> [DescriptorSlot: Session] {
        var held: [DescriptorSlot: Session] = [:]
        for session in (try? orchestrator.openSessions) ?? [] {
            let holder = session.holder
            if store.entry(holder.slot)?.kind == .session {
                held[holder.slot] = session
            } else if holder.isDetached {
                closer.detach(session)
            } else {
                // The client that held it open died together with all processes of luod.
                try? session.close()
            }
        }
        return held
    }

    private func resumeSession(in slot: DescriptorSlot, _ session: Session?) throws {
        guard let entry = store.entry(slot) else { return }
        let user = session?.holder.user ?? entry.label.user
        let peer: Connection.Peer = session.map { .session($0) } ?? .dead(user)
        try connections.add(entry.descriptor, slot, peer, ClientID(user: user, process: 0))
    }

    /// Adds the devices and programs. Devices of an ended boot are dead, so that they do not prevent another open.
    private func resumePrograms() throws {
        let boot = try? orchestrator.boot
        for slot in store.slots(.device) {
            guard let entry = store.entry(slot) else { continue }
            let peer: Connection.Peer = entry.label.boot == boot ? .device(entry.label.user) : .dead(entry.label.user)
            try connections.add(entry.descriptor, slot, peer, ClientID(user: entry.label.user, process: 0))
        }
        for slot in store.slots(.program) {
            guard let entry = store.entry(slot) else { continue }
            let user = entry.label.user
            try connections.add(entry.descriptor, slot, .program(user), ClientID(user: user, process: 0))
        }
    }

    // MARK: Unsent sessions

    /// Gives each unsent session a new pair of sockets, before any ended session ends.
    ///
    /// luod does not hold the client's end of a session, so that it notices the last close at once. If an orchestrator
    /// dies after committing a session and before sending its descriptor, that end is lost: luod's end has hung up
    /// while the request is still in its queue.
    private func renewUnsentSessions() throws {
        for connection in connections.all where connection.peer.user != nil {
            guard let answer = orchestrator.answer(on: connection.slot), isStillAsked(answer, connection),
                let entry = store.entry(answer.slot), entry.kind == .session, entry.descriptor.hasHungUp,
                let held = connections[entry.descriptor], case .session(let session) = held.peer
            else { continue }
            try renew(session, held, for: answer, on: connection)
        }
    }

    private func renew(
        _ session: Session, _ old: Connection, for answer: Answer, on connection: Connection
    ) throws {
        let ends = try MessageSocket.pair()
        var label = old.label
        label.cookie = try ends.1.socketCookie()
        // No client is served yet, and this wait costs less than another start.
        let slot = try store.take(OwnedDescriptor(taking: ends.0), .session, label, patience: 30_000)
        var (holder, answer) = (session.holder, answer)
        holder.slot = slot
        answer.slot = slot
        try session.hold(by: holder, answering: answer)
        connections.change(old, to: .dead(old.user))
        closer.close(old)
        try connections.add(ends.0, slot, .session(session), connection.clientID)
        connection.noteGiven(slot)
        sessions.addUnsent(ends.1, for: connection.slot)
    }

    /// Whether the request is still in its queue. Otherwise the client has the answer.
    private func isStillAsked(_ answer: Answer, _ connection: Connection) -> Bool {
        guard let message = try? connection.descriptor.receive(.peeking) else { return false }
        defer { store.close(message.descriptors, of: connection.user) }
        return (try? connection.decoder.request(message.bytes))?.tag == answer.request.tag
    }

    // MARK: Orphans

    /// Releases files that an earlier orchestrator held without committing them, or unpreserved without releasing them.
    func releaseOrphans() {
        mayHaveOrphans = false
        guard let status = try? orchestrator.status() else { return }
        var named = Set(status.sessions.flatMap(\.files).map(\.slot))
        for connection in connections.all {
            if let answer = orchestrator.answer(on: connection.slot), isStillAsked(answer, connection) {
                named.insert(answer.slot)
            }
            if let kept = connection.unsent?.kept { named.insert(kept) }
        }
        store.release(now: store.slots(.file).filter { !named.contains($0) })
    }
}
