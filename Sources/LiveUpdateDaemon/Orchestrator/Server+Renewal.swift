import LiveUpdate
import Platform
import SystemPackage

/// The client's end of a session is kept nowhere, so that its last close is seen at once. When an orchestrator dies after a
/// session was committed and before its descriptor was sent, nobody has that end: the successor sees that ours has hung up
/// while the request is still in its queue, and gives the session a new pair.
extension Server {
    /// Before anything that has ended is ended.
    func renewUnsentSessions() throws {
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
        // No client is served yet, and waiting costs less than another start.
        let slot = try store.take(OwnedDescriptor(taking: ends.0), .session, label, patience: 30_000)
        var (holder, answer) = (session.holder, answer)
        holder.slot = slot
        answer.slot = slot
        try session.hold(by: holder, answering: answer)
        connections.change(old, to: .dead(old.user))
        close(old)
        try connections.add(ends.0, slot, .session(session), connection.clientID)
        connection.noteGiven(slot)
        sessions.addUnsent(ends.1, for: connection.slot)
    }

    /// What is in the way of an open may have ended, or may be known to nobody: given with an answer that its successor had said
    /// again to somebody who had got it already, and who will drop it.
    ///
    /// - Returns: whether something was ended, so that it is to be tried again.
    func endUnclaimed(_ connection: Connection, where isInTheWay: (Connection) -> Bool) -> Bool {
        let gone = connections.all.filter { other in
            guard isInTheWay(other) else { return false }
            return other.descriptor.hasHungUp
                || other.slot == connection.lastGiven && connection.descriptor.hasUnread
        }
        for other in gone { close(other) }
        return !gone.isEmpty
    }
}
