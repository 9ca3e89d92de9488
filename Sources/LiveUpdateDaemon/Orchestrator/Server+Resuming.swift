import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// What an orchestrator finds that another one has left: connections, sessions, and what nobody names.
extension Server {
    /// Finds its connections and sessions again.
    func resume() throws {
        try open()
        var sessions: [DescriptorSlot: Session] = [:]
        for session in (try? orchestrator.openSessions) ?? [] {
            let holder = session.holder
            if store.entry(holder.slot)?.kind == .session {
                sessions[holder.slot] = session
            } else if holder.isDetached {
                detach(session)
            } else {
                // Whoever had it open died with all of us.
                try? session.close()
            }
        }
        for slot in store.slots(.session) {
            guard let descriptor = store.entry(slot)?.descriptor else { continue }
            if let session = sessions[slot] {
                let clientID = ClientID(user: session.holder.owner, process: 0)
                try connections.add(descriptor, slot, .session(session), clientID)
            } else {
                let user = store.entry(slot)?.label.user ?? .max
                try connections.add(descriptor, slot, .dead(user), ClientID(user: user, process: 0))
            }
        }
        try resumePrograms()
        for slot in store.slots(.client) {
            guard let descriptor = store.entry(slot)?.descriptor else { continue }
            try connections.addClient(descriptor, slot)
        }
        // Of a life before this keeper's: its numbers are given anew.
        for slot in (try? orchestrator.answeredConnections) ?? [] where store.entry(slot) == nil {
            orchestrator.forget(slot)
        }
        try renewUnsentSessions()
        mayHaveOrphans = true
    }

    /// Files that were kept and never committed, or let go and not yet released, by who died then.
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
        for slot in store.slots(.file) where !named.contains(slot) { store.release(slot) }
        store.flush()
    }

    /// Whether the request is still in its queue: otherwise the client has the answer.
    func isStillAsked(_ answer: Answer, _ connection: Connection) -> Bool {
        guard let message = try? connection.descriptor.receive(.peeking) else { return false }
        defer { store.close(message.descriptors, of: connection.user) }
        return (try? connection.decoder.request(message.bytes))?.tag == answer.request.tag
    }
}
