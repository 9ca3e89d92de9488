import LiveUpdate
import Platform
import SystemPackage

/// The ends of connections, and of the sessions that they led to.
extension Server {
    /// Does what was still asked, and closes.
    func end(_ connection: Connection) {
        // Nobody reads the answers; a client that sent much before it went does not hold up the others for long.
        for _ in 0..<16 {
            guard connections[connection.descriptor.rawValue] === connection, !connection.isWaiting,
                connection.peer.isSocket, !mustWait(connection)
            else { break }
            if let reply = connection.unsent {
                connection.unsent = nil
                try? connection.descriptor.discardMessage()
                finish(reply, of: connection.user)
            }
            serve(connection)
        }
        close(connection)
    }

    /// Lets go of it, and of the session that it led to.
    func close(_ connection: Connection) {
        guard connections.removeValue(forKey: connection.descriptor.rawValue) != nil else { return }
        poller.remove(connection.descriptor)
        scheduler.forget(connection.descriptor)
        if let reply = connection.unsent { finish(reply, of: connection.user) }
        orchestrator.forget(connection.slot)
        if let unsent = unsentSessions.removeValue(forKey: connection.slot) { try? closeDescriptor(unsent) }
        if let owner = connection.peer.counted { quota.remove(from: owner) }
        store.count(to: connection.user)
        if case .session(let session) = connection.peer { end(session, hasArrived: connection.hasArrived) }
        if connection.peer.isSocket { drain(connection.descriptor, of: connection.user) }
        store.release(connection.slot)
        store.flush()
        endIfUnused()
    }

    /// What its keeper would do, had it not died: who was started for one program ends with the last of its processes.
    private func endIfUnused() {
        guard settings.endsUnused, keeper == nil, !connections.values.contains(where: \.isProgram) else { return }
        exitNow(0)
    }

    /// Ends a session with its last descriptor. An incoming session may never have reached its client: it is not
    /// finished then, and can be retrieved again.
    private func end(_ session: Session, hasArrived: Bool) {
        attached[session.number] = nil
        if session.holder.isDetached { return detach(session) }
        do throws(LiveUpdateError) {
            if session.direction == .incoming && !hasArrived {
                try session.abandon()
            } else {
                try session.close()
            }
        } catch {
            log.say("session \"\(session.name)\": \(error)")
        }
    }

    /// Makes a session wait for the next attach, without a client that holds it.
    func detach(_ session: Session) {
        var holder = session.holder
        if holder.slot != .lost {
            // Its number will be another descriptor's.
            holder.slot = .lost
            try? session.hold(by: holder)
        }
        detached[session.number] = session
    }
}
