// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// The server of an orchestrator: one thread, which answers one request after the other.
///
/// 1. The ``RequestScheduler`` shares time among users, processes and connections, and chooses the next connection. A
///    user's ends come before the user's requests, so that a program can close a session and at once create one with
///    the same name.
/// 2. A request stays in the socket's queue until it is answered. A change that must not be done twice is committed
///    together with its answer (``LiveUpdateCore/Answer``).
/// 3. A client is not served until it has read its last answer.
///
/// The server has no state that is not in the journal or in the keeper: ``resume()`` restores everything.
final class Server {
    private let store: DescriptorMirror
    private let log: Log
    private let refusal: Refusal?
    private let work: WorkQueue
    private let connections: ConnectionTable
    private let acceptor: Acceptor
    private let keeper: KeeperLink
    private let replies: ReplySender
    private let ledger: ReplyLedger
    private let updates: UpdateRunner
    private let subscribers: Subscribers
    private let longWork: LongWorkRunner
    private let closer: ConnectionCloser
    private let resumption: Resumption
    private let waiting: WaitingRule
    private let losses: LossReporter
    private let kernelUpdate: KernelUpdateCall
    private let deviceCalls: DeviceCalls
    private let sessionCalls: SessionCalls
    /// The next time to read the memory of files, in nanoseconds.
    private var nextReading: UInt64 = 0

    /// Makes a server for ``OrchestratorResources/makeServer(of:refusal:predecessorsEnd:)``, which explains the
    /// parameters.
    init(
        _ resources: OrchestratorResources, _ orchestrator: Orchestrator, refusal: Refusal?, predecessorsEnd: String
    ) throws {
        let settings = resources.settings
        store = resources.store
        log = resources.log
        self.refusal = refusal
        let memory = try store.descriptor(.memory).map { try ControlMemory($0) }
        let state = StateDirectory(settings.state)
        let sessions = SessionTable()
        work = try WorkQueue()
        connections = ConnectionTable(store, work, Self.quota(settings))
        acceptor = Acceptor(store, orchestrator, connections, work, log)
        keeper = KeeperLink(resources.keeper, store, work, memory, silence: settings.silence, log)
        replies = ReplySender(store, connections, work)
        ledger = ReplyLedger(memory, orchestrator, store, sessions, predecessorsEnd: predecessorsEnd)
        subscribers = Subscribers(connections, orchestrator)
        updates = UpdateRunner(orchestrator, connections, acceptor, keeper, replies, subscribers, log)
        longWork = LongWorkRunner(
            resources.workers, store, orchestrator, connections, work, replies, ledger, updates, log)
        closer = ConnectionCloser(
            store, orchestrator, connections, sessions, replies, longWork, keeper, log,
            endsUnused: settings.endsUnused)
        resumption = Resumption(store, orchestrator, connections, sessions, closer)
        waiting = WaitingRule(store, connections, longWork, ledger)
        losses = LossReporter(store, orchestrator, settings, log)
        let admissions = Admissions(store, orchestrator, connections, acceptor, settings.kernel)
        kernelUpdate = KernelUpdateCall(
            orchestrator, store, state: settings.state, updates, longWork, connections, acceptor, replies, keeper, log)
        sessionCalls = SessionCalls(admissions, longWork, subscribers, log)
        deviceCalls = DeviceCalls(
            SessionOpener(store, orchestrator, connections, sessions, closer, admissions, log),
            SessionRemover(orchestrator, connections, sessions, log),
            ProgramCalls(store, orchestrator, connections, closer, admissions, keeper, state),
            StatusReporter(store, orchestrator, keeper, updates, admissions, connections, work, refusal, state),
            StopCall(store, losses, refusal, updates, kernelUpdate, replies, keeper, log), kernelUpdate,
            connections, longWork, updates, refusal)
    }

    private static func quota(_ settings: Settings) -> Quota {
        let limit = DescriptorLimit.now
        // The rest is for descriptors in messages. Messages would otherwise be truncated.
        return Quota(
            mostOfProcess: limit - min(limit / 2, MessageSocket.mostDescriptors + 48),
            mostOfUser: settings.userDescriptors, memory: settings.memory,
            isOpenToEverybody: settings.isOpenToEverybody)
    }

    // MARK: Beginning

    /// Begins to wait for clients, for the keeper and for threads.
    func open() throws {
        try keeper.open()
        try longWork.open()
        for kind in [DescriptorKind.control, .rootListener, .listener] {
            if let listener = store.descriptor(kind) { try work.watch(listener, for: .reading) }
        }
    }

    /// Opens the server, and finds the connections and sessions that another orchestrator has left.
    func resume() throws {
        try open()
        try resumption.resume()
        subscribers.resume()
    }

    /// Logs the sessions and files that were lost before this start. Call this before ``resume()``, which ends lost
    /// sessions.
    func logStartLosses() { losses.logStart() }

    /// Answers the request for the update or reload with which this process began.
    func answerEarlier(_ what: HandOverKind, _ note: HandOverNote, times: [UInt64]) {
        updates.answerEarlier(what, note, times: times)
    }

    // MARK: Serving

    func run() throws -> Never {
        while true {
            let events = try work.wait(patience)
            if events.isEmpty && resumption.mayHaveOrphans && work.isIdle && longWork.isIdle {
                resumption.releaseOrphans()
            }
            resumePostponed()
            keeper.tick()
            endRefusalIfDue()
            step(events)
            updates.lookOn()
            updates.askOn(longWork)
            kernelUpdate.dropAbandoned()
            if store.hasReleased { store.flush(atMost: 256) }
            updates.noticeDeafKeeper()
            log.sayOmissions()
            readMemoryAgain()
        }
    }

    /// Reads the memory of several files again, from time to time.
    private func readMemoryAgain() {
        guard store.measuresMemory else { return }
        let now = monotonicNanoseconds()
        guard now >= nextReading else { return }
        nextReading = now + Self.readingInterval
        store.readMemoryAgain(atMost: 1024)
    }

    /// Ends this process when a refusal is over, so that the next one tries again.
    private func endRefusalIfDue() {
        guard let refusal, refusal.isOver(at: milliseconds()), !updates.isUnderWay else { return }
        exitNow(StartFailure.Cause.unavailable.rawValue)
    }

    /// The time between two readings of the memory of files, in nanoseconds.
    private static let readingInterval: UInt64 = 500_000_000

    /// The longest time that the loop may sleep, in milliseconds.
    private var patience: CInt {
        if resumption.mayHaveOrphans && longWork.isIdle || !work.isIdle || store.hasReleased || updates.isLooking {
            return 0
        }
        let wait = subscribers.wait ?? .max
        if connections.hasPostponed { return min(Self.postponement, wait) }
        return min(acceptor.patience ?? CInt(HangPolicy.interval), wait)
    }

    /// Notes the events, and works for a slice of time. Remaining work stays in the scheduler.
    private func step(_ events: [Poller.Event]) {
        let began = monotonicNanoseconds()
        acceptor.resume()
        for event in events {
            if let connection = connections[event.descriptor] {
                work.note(event, on: connection)
            } else {
                serveOthers(event)
            }
        }
        // Looking at many ready connections takes time, too, but at most a third of all.
        let worked = monotonicNanoseconds()
        let end = worked + min(max(Self.slice, 2 * (worked - began)), Self.longestSlice)
        var clock = WorkClock(at: worked, isShared: work.isShared)
        while clock.now < end, let next = work.next() {
            let client = perform(next)
            let used = clock.lap()
            if let client { work.charge(used, to: client) }
        }
    }

    /// The time that the loop works before it looks for events again, in nanoseconds.
    private static let slice: UInt64 = 1_000_000

    /// The longest such time, after looking at events took long.
    private static let longestSlice: UInt64 = 5_000_000

    /// - Returns: the client to charge; nil when the time is charged already.
    private func perform(_ next: RequestScheduler.Work) -> ClientID? {
        switch next {
        case .accept:
            acceptor.accept()
            return nil
        case .admit(let descriptor): return acceptor.admit(descriptor)
        case .end(let descriptor):
            guard let connection = connections[descriptor] else { return nil }
            end(connection)
            return connection.clientID
        case .serve(let descriptor):
            guard let connection = connections[descriptor] else { return nil }
            serveNow(connection)
            return connection.clientID
        }
    }

    private func serveNow(_ connection: Connection) {
        // The connection has an unsent reply, so the event means that there is room for it.
        if connection.unsent != nil, !connection.isPostponed { return replies.sendRest(to: connection) }
        guard connection.unsent == nil, !connection.isWaiting, !connection.isPostponed else { return }
        if waiting.mustWait(connection) { return connections.postpone(connection) }
        let isAfterRepeated = connection.takeRepeated()
        if connection.descriptor.hasUnreadByPeer, !isAfterRepeated {
            return connections.awaitReader(of: connection)
        }
        connections.endAwaiting(of: connection)
        serve(connection)
    }

    private func serveOthers(_ event: Poller.Event) {
        let number = event.descriptor.rawValue
        if keeper.isLink(event.descriptor) {
            readKeeper()
        } else if longWork.isEvents(event.descriptor) {
            longWork.finish { closer.release($0) }
        } else if number == store.descriptor(.listener)?.rawValue {
            work.noteListener(mayAccept: true)
        } else if number == store.descriptor(.rootListener)?.rawValue {
            acceptor.acceptRoot(event.descriptor)
        } else if number == store.descriptor(.control)?.rawValue {
            keeper.adopt(from: event.descriptor)
        }
    }

    private func readKeeper() {
        while true {
            switch keeper.next() {
            case .nothing: return
            case .end: return updates.loseKeeper()
            case .message(let received): take(received)
            }
        }
    }

    private func take(_ received: ControlLink.Received) {
        if updates.take(received) { return }
        if case .hold(let slots) = received.message { return takeSockets(slots, received.descriptors) }
        if case .publishAtEnd(let flags) = received.message { kernelUpdate.publishAtEnd(flags) }
        if case .ending = received.message {
            if !kernelUpdate.end() { losses.logEnd() }
            try? keeper.send(.stop)
        }
        keeper.note(received)
    }

    /// Listens on sockets that the keeper has made again, in the place of those without a name.
    private func takeSockets(_ slots: [HeldSlot], _ descriptors: [FileDescriptor]) {
        for held in slots {
            if let old = store.descriptor(in: held.slot) { work.unwatch(old) }
        }
        store.hold(slots, descriptors)
        for descriptor in descriptors {
            do throws(SystemCallError) {
                try work.watch(descriptor, for: .reading)
            } catch {
                log.say("a socket that was made again is not served: \(error); luoctl reload serves it", .error)
            }
        }
    }

    /// Serves one request.
    private func serve(_ connection: Connection) {
        guard let message = peek(connection) else { return }
        noteArrival(connection, message.bytes)
        // The queue has copies of the descriptors, too. These are closed after the answer has taken the message out of
        // the queue.
        defer {
            if connection.isWorking {
                connection.keepForWork(message.descriptors)
            } else {
                store.close(requested: message.descriptors, on: connection)
            }
        }
        if message.isTruncated {
            // The rest of the message has the last copies of its descriptors. This thread must not drop them.
            if message.lacksDescriptors, connection.mayTryAgain() { return connections.postpone(connection) }
            log.say("a message of user \(connection.user) was cut: its connection is closed", .warning)
            guard !longWork.postponesEnd(connection) else { return }
            return closer.close(connection, mayTakeLong: true)
        }
        connection.endTrying()
        ledger.begin(message.bytes, on: connection.slot)
        let reply = answer(message, connection)
        ledger.end(message.bytes)
        if let reply { replies.send(reply, to: connection) }
    }

    /// Notes that the client has received the descriptor of its incoming session, because it made a request on it. A
    /// client that only looks leaves the session to another client.
    private func noteArrival(_ connection: Connection, _ message: [UInt8]) {
        guard !connection.hasArrived, connection.isOutgoing == false else { return }
        if message.number(UInt32.self, at: 0) == Call.attestation.command { return connection.noteLook() }
        var label = connection.label
        label.traits.insert(.hasArrived)
        connections.relabel(connection, label)
    }

    private func peek(_ connection: Connection) -> ReceivedMessage? {
        for _ in 0..<2 {
            do throws(SystemCallError) {
                guard let message = try connection.descriptor.receive(.peeking) else {
                    closer.close(connection, mayTakeLong: true)
                    return nil
                }
                return message
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable: return nil
                // The kernel reports this once, when the peer closed the socket with unread messages. The peer's own
                // messages are still there.
                case .connectionReset: continue
                default:
                    closer.close(connection, mayTakeLong: true)
                    return nil
                }
            }
        }
        return nil
    }

    /// - Returns: nil when the request is answered later.
    private func answer(_ message: ReceivedMessage, _ connection: Connection) -> Reply? {
        let request: Request
        do throws(Malformed) {
            request = try connection.decoder.request(message.bytes)
        } catch {
            return Reply(connection.isDead ? Self.dead : error.error).completed(for: error)
        }
        let known = ledger.reply(to: request, on: connection)
        return (known ?? perform(request, message.descriptors.first, connection))?.completed(for: request)
    }

    /// - Returns: nil when the request is answered later.
    private func perform(_ request: Request, _ descriptor: FileDescriptor?, _ connection: Connection) -> Reply? {
        do throws(LiveUpdateError) {
            switch connection.peer {
            case .client(let user), .device(let user):
                return try deviceCalls.perform(request, descriptor, Client(user: user, connection: connection))
            case .session(let session):
                return try sessionCalls.perform(request, descriptor, session, connection)
            case .dead, .program: throw Self.dead
            }
        } catch {
            log.say(limit: error, of: connection.clientID)
            return Reply(error)
        }
    }

    private static let dead = LiveUpdateError(
        .operationNotSupportedByDevice, "the session or device is of a boot that has ended, or was removed",
        remedy: "retrieve or attach the session in this boot (luoctl session list shows them)")

    // MARK: Ends

    /// Does one request of a connection that its client has closed. No client reads the answer. The end is then noted
    /// again, so that others are served meanwhile. After the last request this closes the connection.
    private func end(_ connection: Connection) {
        if longWork.postponesEnd(connection) { return }
        // A client that has shut down only its own side may still read. It, too, has at most one unread answer.
        if !connection.isWaiting, connection.peer.isSocket, !waiting.waitsForCloses(connection),
            !connection.descriptor.hasUnreadByPeer, connection.beginLastRequest()
        {
            replies.dropUnsent(of: connection, isAnswered: true)
            serve(connection)
            // Looking at an empty queue has closed the connection.
            guard connections.contains(connection), !longWork.postponesEnd(connection) else { return }
            return work.noteEnd(of: connection)
        }
        // Draining the rest of the queue takes long, too, if each message has many descriptors.
        if connection.peer.isSocket, !store.drain(connection.descriptor, of: connection.user, atMost: 16) {
            return work.noteEnd(of: connection)
        }
        closer.close(connection, mayTakeLong: true)
    }

    // MARK: Postponed connections

    /// The longest sleep of the loop while connections are postponed, in milliseconds.
    private static let postponement: CInt = 5

    /// Serves postponed connections again, unless they must still wait.
    private func resumePostponed() {
        guard connections.hasPostponed else { return }
        for connection in connections.takePostponed() {
            if connection.hasEnded {
                work.noteEnd(of: connection)
            } else if waiting.mustWait(connection) {
                connections.postpone(connection)
            } else if connection.unsent != nil {
                replies.sendRest(to: connection)
            } else {
                work.change(connection.descriptor, to: .reading)
            }
        }
    }
}
