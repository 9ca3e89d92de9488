// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// Lets threads do the requests that take long, while other clients are served.
///
/// 1. The request stays in its socket's queue, and the connection waits (``Connection/isWorking``). The end of the
///    connection, the removal of its session, and updates wait, too.
/// 2. When the thread has finished, the loop sends the answer. The end of the connection cancels a search.
/// 3. The end of a session with many files is done in the same way. The user's other requests wait for it.
///
/// An update interrupts searches. Their requests stay in the queue, and are done again if this boot continues, also in
/// the orchestrator after a reload. No long work begins while an update is under way, or while one waits for the
/// running work. An update that asks its subscribers lets long work begin, because they may preserve files before they
/// are ready.
final class LongWorkRunner {
    private let workers: WorkerPool
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let work: WorkQueue
    private let replies: ReplySender
    private let ledger: ReplyLedger
    private let updates: UpdateRunner
    private let log: Log
    private var longWork = LongWork()
    /// An update that waits for the end of long work.
    private weak var waitingUpdate: Connection?

    init(
        _ workers: WorkerPool, _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ connections: ConnectionTable,
        _ work: WorkQueue, _ replies: ReplySender, _ ledger: ReplyLedger, _ updates: UpdateRunner, _ log: Log
    ) {
        self.workers = workers
        self.store = store
        self.orchestrator = orchestrator
        self.connections = connections
        self.work = work
        self.replies = replies
        self.ledger = ledger
        self.updates = updates
        self.log = log
    }

    // MARK: Looking

    /// Whether no long work is under way.
    var isIdle: Bool { longWork.isIdle }

    /// Whether the requests of a user wait for the end of one of the user's sessions.
    func makesWait(_ user: SessionUser) -> Bool { longWork.makesWait(user) }

    /// Whether a descriptor is the one that reports finished work.
    func isEvents(_ descriptor: FileDescriptor) -> Bool { workers.events == descriptor }

    /// Begins to wait for finished work.
    func open() throws(SystemCallError) { try work.watch(workers.events, for: .reading) }

    /// Whether long work may begin now.
    private var mayWorkLong: Bool { waitingUpdate == nil && !updates.forbidsLongWork }

    /// Whether the end of a session may begin now. An update waits only for the ends of its own user's sessions.
    private func mayEndLong(_ user: SessionUser) -> Bool {
        !updates.forbidsLongWork && (waitingUpdate == nil || waitingUpdate?.user == user)
    }

    // MARK: Requests

    /// Lets a thread do a request. Without a free thread, or while an update is under way, the request waits.
    /// `preservesMemory` says whether the request preserves a memory file when it succeeds.
    func begin(
        _ request: Request, on connection: Connection, preservesMemory: Bool = false,
        _ body: @escaping @Sendable () throws(LiveUpdateError) -> Void
    ) {
        guard mayWorkLong, let started = workers.start(for: connection.user, body) else {
            return connections.postpone(connection)
        }
        connection.beginWork()
        replies.wait(connection)
        longWork.begin(
            started, .request(request, place: ledger.beginLong(), preservesMemory: preservesMemory), connection)
    }

    /// Lets a thread prepare a request, which is served again afterwards. Without a free thread, or while an update is
    /// under way, the request waits.
    ///
    /// - Returns: whether a thread prepares the request. If so, `whenDone` is called before the request is served
    ///   again.
    func prepare(
        _ connection: Connection, _ body: @escaping @Sendable () throws(LiveUpdateError) -> Void,
        whenDone: @escaping (LiveUpdateError?) -> Void
    ) -> Bool {
        guard mayWorkLong, let started = workers.start(for: connection.user, body) else {
            connections.postpone(connection)
            return false
        }
        connection.beginWork()
        replies.wait(connection)
        longWork.begin(started, .preparation(whenDone: whenDone), connection)
        return true
    }

    /// Whether an update must wait for long work. If so, its connection is served again in a moment. Searches are
    /// interrupted, because they may take long.
    func mustWait(update connection: Connection) -> Bool {
        guard !longWork.isIdle else {
            waitingUpdate = nil
            return false
        }
        interrupt()
        waitingUpdate = connection
        connections.postpone(connection)
        return true
    }

    /// Interrupts searches.
    func interrupt() { for started in longWork.interrupt() { workers.cancel(started) } }

    /// Whether the end of a connection's session takes long.
    private func endsLong(_ connection: Connection) -> Bool {
        guard let session = connection.session, hasManyFiles(session) else { return false }
        return !session.holder.isDetached
    }

    /// Whether it takes long to finish or close a session. The user's count is checked first, because that costs less.
    func hasManyFiles(_ session: Session) -> Bool {
        orchestrator.usage(of: session.holder.user).files > LongWork.manyFiles
            && session.tokens.count > LongWork.manyFiles
    }

    /// Whether a thread works on the session in a REMOVE_SESSION request. A forced removal cancels a search.
    func isAtWork(_ request: Request, _ user: SessionUser) -> Bool {
        guard !longWork.isIdle else { return false }
        let call = UpdateCall(request.body)
        let name = SessionName(described: call.text)
        let working = connections.all.filter { $0.isWorking && $0.user == user && $0.session?.name == name }
        if call.flags & UpdateCall.force != 0 {
            for started in working.compactMap({ longWork.work(of: $0) }) { workers.cancel(started) }
        }
        return !working.isEmpty
    }

    // MARK: Ends

    /// Whether the end of a connection waits: for its request, for the end of another session of its user, or for a
    /// free thread. The end is noted again later.
    func postponesEnd(_ connection: Connection) -> Bool {
        let waits =
            connection.isWorking || longWork.isEnding(of: connection.user)
            || endsLong(connection) && !(mayEndLong(connection.user) && workers.isFree(for: connection.user))
        guard waits else { return false }
        // The poller would otherwise report the end of the socket again and again.
        work.unwatch(connection.descriptor)
        if connection.noteEnd() { longWork.addWaitingEnd(of: connection.user) }
        if let started = longWork.work(of: connection) {
            // No client waits for the result any longer.
            workers.cancel(started)
        } else {
            connections.postpone(connection)
        }
        return true
    }

    /// Lets a thread end a session with many files.
    ///
    /// - Returns: whether a thread does it. Otherwise the caller ends the session now.
    func end(_ session: Session, of connection: Connection) -> Bool {
        guard endsLong(connection), mayEndLong(connection.user) else { return false }
        let hasArrived = connection.hasArrived
        let end = SessionEnd(of: session, connection)
        let log = log
        let started = workers.start(for: connection.user) { () throws(LiveUpdateError) in
            try session.end(hasArrived: hasArrived)
            end.say(on: log)
        }
        guard let started else { return false }
        longWork.begin(started, .end(session), connection)
        return true
    }

    /// Notes that a connection was closed. Its end may have been postponed.
    func noteClosed(_ connection: Connection) {
        if connection.hasEnded { longWork.removeWaitingEnd(of: connection.user) }
    }

    // MARK: Results

    /// Answers the finished requests.
    ///
    /// - Parameter release: releases the descriptor of a connection after the end of its session.
    func finish(release: (Connection) -> Void) {
        for finished in workers.takeFinished() {
            guard let done = longWork.finish(finished.work) else { continue }
            let connection = done.connection
            work.charge(finished.duration, to: connection.clientID)
            switch done.purpose {
            case .request(let request, let place, let preservesMemory):
                ledger.endLong(place)
                // A search is also canceled when its connection ends. Then no client waits for it.
                if done.isInterrupted, finished.error?.errno == .canceled, !connection.hasEnded {
                    serveAgain(connection)
                } else {
                    if preservesMemory, finished.error == nil { connection.notePreservedMemory() }
                    answer(request, connection, finished.error)
                }
            case .preparation(let whenDone):
                whenDone(finished.error)
                serveAgain(connection)
            case .end(let session):
                if let error = finished.error { log.say("session \"\(session.name)\": \(error)") }
                release(connection)
            }
        }
    }

    /// Leaves a request in its queue, so that it is served again.
    private func serveAgain(_ connection: Connection) {
        store.close(connection.endWork(), of: connection.user)
        _ = connection.endWaiting()
        connections.postpone(connection)
    }

    private func answer(_ request: Request, _ connection: Connection, _ error: LiveUpdateError?) {
        let descriptors = connection.endWork()
        if let error { log.say(limit: error, of: connection.clientID) }
        if error == nil, request.call == .finish, let session = connection.session {
            log.say("session finished", .info, session.fields(for: connection.clientID))
        }
        let reply = error.map { Reply($0) } ?? Reply(0, body: request.answerBody)
        replies.send(reply.completed(for: request), to: connection)
        store.close(requested: descriptors, on: connection)
        if connection.hasEnded { work.noteEnd(of: connection) }
    }
}

/// The end of a session with its last descriptor, for the log.
struct SessionEnd: Sendable {
    private let fields: Logger.Metadata
    /// Whether the session stays, because its client has never received it.
    private let isRefused: Bool

    init(of session: Session, _ connection: Connection) {
        fields = session.fields(for: connection.clientID)
        isRefused = session.direction == .incoming && !connection.hasArrived
    }

    /// Writes the line.
    func say(on log: Log) { if !isRefused { log.say("session ended", .info, fields) } }
}

extension Session {
    /// Ends a session when its last descriptor is closed. If an incoming session has never reached its client, it is
    /// not finished, and can be retrieved again.
    func end(hasArrived: Bool) throws(LiveUpdateError) {
        if direction == .incoming && !hasArrived { try abandon() } else { try close() }
    }
}
