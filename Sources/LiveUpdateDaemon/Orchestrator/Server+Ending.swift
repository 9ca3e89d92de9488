import LiveUpdate
import Platform
import SystemPackage

/// The ends of connections, and of the sessions that they led to.
extension Server {
    /// Does what was still asked, and closes.
    func end(_ connection: Connection) {
        if postponesEnd(connection) { return }
        // Nobody reads the answers; a client that sent much before it went does not hold up the others for long.
        for _ in 0..<16 {
            guard connections.contains(connection), !connection.isWaiting,
                !connection.isWorking,
                connection.peer.isSocket, !waitsForCloses(connection)
            else { break }
            replies.dropUnsent(of: connection, isAnswered: true)
            serve(connection)
        }
        // The last look at the socket may have closed the connection.
        guard connections.contains(connection), !postponesEnd(connection) else { return }
        close(connection, mayTakeLong: true)
    }

    /// Lets go of it, and of the session that it led to.
    ///
    /// - Parameter mayTakeLong: whether the session may end a moment later (``LongWork``).
    func close(_ connection: Connection, mayTakeLong: Bool = false) {
        // Its request is done first: then its end is noted again.
        guard !connection.isWorking else { return }
        guard connections.remove(connection) else { return }
        if connection.hasEnded { longWork.removeWaitingEnd(of: connection.user) }
        replies.dropUnsent(of: connection, isAnswered: false)
        orchestrator.forget(connection.slot)
        if let unsent = sessions.takeUnsent(for: connection.slot) { try? closeDescriptor(unsent) }
        if case .session(let session) = connection.peer {
            if mayTakeLong, endLong(session, connection) { return }
            end(session, hasArrived: connection.hasArrived)
        }
        release(connection)
    }

    /// Lets go of a connection's descriptor, after the end of its session.
    func release(_ connection: Connection) {
        if connection.peer.isSocket { store.drain(connection.descriptor, of: connection.user) }
        store.release(connection.slot)
        store.flush()
        endIfUnused()
    }

    /// What its keeper would do, had it not died: who was started for one program ends with the last of its processes.
    private func endIfUnused() {
        guard settings.endsUnused, !keeper.isThere, !connections.all.contains(where: \.isProgram) else { return }
        exitNow(0)
    }

    /// Ends a session with its last descriptor, or detaches it.
    private func end(_ session: Session, hasArrived: Bool) {
        if session.holder.isDetached { return detach(session) }
        do throws(LiveUpdateError) {
            try session.end(hasArrived: hasArrived)
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
        sessions.addDetached(session)
    }
}
