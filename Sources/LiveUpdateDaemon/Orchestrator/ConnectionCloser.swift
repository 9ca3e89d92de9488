// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Closes connections, and ends the sessions that they led to.
final class ConnectionCloser {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let sessions: SessionTable
    private let replies: ReplySender
    private let longWork: LongWorkRunner
    private let keeper: KeeperLink
    private let log: Log
    private let endsUnused: Bool

    /// Makes a closer of connections. `endsUnused` is ``Settings/endsUnused``.
    init(
        _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ connections: ConnectionTable,
        _ sessions: SessionTable, _ replies: ReplySender, _ longWork: LongWorkRunner, _ keeper: KeeperLink,
        _ log: Log, endsUnused: Bool
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.connections = connections
        self.sessions = sessions
        self.replies = replies
        self.longWork = longWork
        self.keeper = keeper
        self.log = log
        self.endsUnused = endsUnused
    }

    /// Closes a connection, and ends the session that it led to. If `mayTakeLong` is true, the session may end a moment
    /// later (``LongWorkRunner``).
    func close(_ connection: Connection, mayTakeLong: Bool = false) {
        // Its request is completed first. After that, the end is noted again.
        guard !connection.isWorking else { return }
        guard connections.remove(connection) else { return }
        longWork.noteClosed(connection)
        replies.dropUnsent(of: connection, isAnswered: false)
        orchestrator.forget(connection.slot)
        if let unsent = sessions.takeUnsent(for: connection.slot) { try? closeDescriptor(unsent) }
        if case .session(let session) = connection.peer {
            if mayTakeLong, longWork.end(session, of: connection) { return }
            end(session, of: connection)
        }
        release(connection)
    }

    /// Releases a connection's descriptor, after the end of its session.
    func release(_ connection: Connection) {
        if connection.peer.isSocket { store.drain(connection.descriptor, of: connection.user) }
        store.release(now: [connection.slot])
        endIfUnused()
    }

    /// Ends this process if luod is unused and its keeper is dead. A keeper would do this itself: a luod for one
    /// program ends with the last process of the program.
    private func endIfUnused() {
        guard endsUnused, !keeper.isThere, !connections.all.contains(where: \.isProgram) else { return }
        exitNow(0)
    }

    /// Ends a session with its last descriptor, or detaches it.
    private func end(_ session: Session, of connection: Connection) {
        if session.holder.isDetached {
            // A client that has only looked leaves an incoming session as one that was not retrieved yet.
            if connection.hasLooked, !connection.hasArrived, (try? session.leave()) == true { return }
            return detach(session)
        }
        do throws(LiveUpdateError) {
            let end = SessionEnd(of: session, connection)
            try session.end(hasArrived: connection.hasArrived)
            end.say(on: log)
        } catch {
            log.say("session \"\(session.name)\": \(error)")
        }
    }

    /// Makes a session wait for the next attach. No client holds it meanwhile.
    func detach(_ session: Session) {
        var holder = session.holder
        if holder.slot != .lost {
            // The slot would otherwise name another descriptor later.
            holder.slot = .lost
            try? session.hold(by: holder)
        }
        sessions.addDetached(session)
    }

    /// Closes connections that prevent an open: their clients have ended, or no client knows them. A repeated answer
    /// can give a client a second such connection. The client already has the first, and drops the second.
    ///
    /// - Returns: whether a connection was closed, so that the caller must try again.
    func closeUnclaimed(_ connection: Connection, where isInTheWay: (Connection) -> Bool) -> Bool {
        let gone = connections.all.filter { other in
            guard isInTheWay(other) else { return false }
            return other.descriptor.hasHungUp
                || other.slot == connection.lastGiven && connection.descriptor.hasUnreadByPeer
        }
        for other in gone { close(other) }
        return !gone.isEmpty
    }
}
