import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// Requests that take long are done by a thread of their own, while other clients are served.
///
/// 1. The request stays in its socket's queue, and the connection waits (``Connection/isWorking``). So do its end, the removal of
///    its session, and updates.
/// 2. When the thread is done, the loop sends the answer.
/// 3. The end of a session with many files is done in the same way. Its user's other requests wait for it.
///
/// While an update waits for this or is under way, no long work begins.
extension Server {
    /// Whether long work may begin now.
    private var mayWorkLong: Bool { waitingUpdate == nil && !updates.isUnderWay }

    /// Has a thread do a request. Without a free thread, or while an update is under way, the request waits.
    func doLong(
        _ request: Request, _ connection: Connection, _ body: @escaping @Sendable () throws(LiveUpdateError) -> Void
    ) {
        guard mayWorkLong, let started = workers.start(for: connection.user, body) else {
            return connections.postpone(connection)
        }
        connection.beginWork()
        replies.wait(connection)
        longWork.begin(started, .request(request), connection)
    }

    /// Whether an update must wait for long work. The connection is served again in a moment then.
    func mustWaitForWork(_ connection: Connection) -> Bool {
        guard !longWork.isIdle else {
            waitingUpdate = nil
            return false
        }
        waitingUpdate = connection
        connections.postpone(connection)
        return true
    }

    /// Whether the end of a connection's session takes long.
    private func endsLong(_ connection: Connection) -> Bool {
        guard let session = connection.session, hasManyFiles(session) else { return false }
        return !session.holder.isDetached
    }

    /// Whether it takes long to finish or close a session. The user's count is looked at first, because it costs less.
    func hasManyFiles(_ session: Session) -> Bool {
        orchestrator.usage(of: session.holder.owner).files > LongWork.manyFiles
            && session.tokens.count > LongWork.manyFiles
    }

    /// Whether a thread works on the session that REMOVE_SESSION names.
    func isAtWork(_ request: Request, _ user: SessionOwner) -> Bool {
        guard !longWork.isIdle else { return false }
        let name = SessionName(described: UpdateCall(request.body).text)
        return connections.all.contains { $0.isWorking && $0.user == user && $0.session?.name == name }
    }

    /// Whether the end of a connection waits: for its request, for the end of another session of its user, or for a free
    /// thread. The end is noted again then.
    func postponesEnd(_ connection: Connection) -> Bool {
        let waits =
            connection.isWorking || longWork.isEnding(of: connection.user)
            || endsLong(connection) && !(mayWorkLong && workers.isFree(for: connection.user))
        guard waits else { return false }
        // The end of a socket is an event as long as the poller has it.
        work.unwatch(connection.descriptor)
        if connection.noteEnd() { longWork.addWaitingEnd(of: connection.user) }
        if !connection.isWorking { connections.postpone(connection) }
        return true
    }

    /// Has a thread end a session with many files.
    ///
    /// - Returns: whether it does: otherwise the session is to be ended now.
    func endLong(_ session: Session, _ connection: Connection) -> Bool {
        guard endsLong(connection), mayWorkLong else { return false }
        let hasArrived = connection.hasArrived
        let started = workers.start(for: connection.user) { () throws(LiveUpdateError) in
            try session.end(hasArrived: hasArrived)
        }
        guard let started else { return false }
        longWork.begin(started, .end(session), connection)
        return true
    }

    /// Answers the requests that are done, and closes the connections whose sessions have ended.
    func finishLongWork() {
        for finished in workers.takeFinished() {
            guard let (purpose, connection) = longWork.finish(finished.work) else { continue }
            work.charge(finished.duration, to: connection.clientID)
            switch purpose {
            case .request(let request): answerLong(request, connection, finished.error)
            case .end(let session):
                if let error = finished.error { log.say("session \"\(session.name)\": \(error)") }
                release(connection)
            }
        }
    }

    private func answerLong(_ request: Request, _ connection: Connection, _ error: LiveUpdateError?) {
        let descriptors = connection.endWork()
        if error == nil && [.preserve, .preserveHeld].contains(request.call) { connection.notePreserved() }
        let reply = error.map { Reply($0) } ?? Reply(0, body: request.answerBody)
        replies.send(reply.completed(for: request), to: connection)
        close(descriptors, of: connection)
        if connection.hasEnded { work.noteEnd(of: connection) }
    }
}

extension Session {
    /// Ends a session with its last descriptor. An incoming session may never have reached its client: it is not
    /// finished then, and can be retrieved again.
    func end(hasArrived: Bool) throws(LiveUpdateError) {
        if direction == .incoming && !hasArrived { try abandon() } else { try close() }
    }
}
