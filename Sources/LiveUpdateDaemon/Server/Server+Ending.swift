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
                connection.peer.isSocket
            else { break }
            if let reply = connection.unsent {
                connection.unsent = nil
                try? connection.descriptor.discardMessage()
                finish(reply)
            }
            serve(connection)
        }
        close(connection)
    }

    /// Lets go of it, and of the session that it led to.
    func close(_ connection: Connection) {
        guard connections.removeValue(forKey: connection.descriptor.rawValue) != nil else { return }
        poller.remove(connection.descriptor)
        if let reply = connection.unsent { finish(reply) }
        orchestrator.forget(connection.slot)
        if let unsent = unsentSessions.removeValue(forKey: connection.slot) { try? closeDescriptor(unsent) }
        if let owner = connection.peer.owner { clients[owner, default: 1] -= 1 }
        if case .session(let session) = connection.peer { letGo(of: session) }
        store.release(connection.slot)
        store.flush()
        endIfUnused()
    }

    /// What its keeper would do, had it not died: who was started for one program ends with the last of its processes.
    private func endIfUnused() {
        guard settings.endsUnused, keeper == nil, !connections.values.contains(where: \.isProgram) else { return }
        exitNow(0)
    }

    private func letGo(of session: Session) {
        attached[session.number] = nil
        guard session.holder.isDetached else {
            do throws(LiveUpdateError) {
                try session.close()
            } catch {
                log.say("session \"\(session.name)\": \(error)")
            }
            return
        }
        detach(session)
    }

    /// Nobody holds it now.
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
