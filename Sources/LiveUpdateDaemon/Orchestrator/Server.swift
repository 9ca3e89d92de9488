import Glibc
import Handover
import LiveUpdate
import LiveUpdateHandlers
import LiveUpdateProtocol
import Platform
import SystemPackage

/// The orchestrator's process: one thread, which answers one request after the other.
///
/// 1. The ``RequestScheduler`` shares time among users, processes and connections, and says which connection is next. Ends of
///    a user come before its requests: so close and create of the same name in one program never meet.
/// 2. A request stays in the socket's queue until it was answered. A change that must not be done twice is committed
///    together with its answer (``LiveUpdate/Answer``).
/// 3. A client that does not read its answers is not served until it does.
///
/// It keeps nothing that the journal or the keeper does not have: ``resume()`` makes all of it again.
final class Server {
    let store: KeptDescriptors
    let orchestrator: Orchestrator
    let work: WorkQueue
    let connections: ConnectionTable
    let acceptor: Acceptor
    let sessions = SessionTable()
    let log: Log
    let settings: Settings
    let workers: WorkerPool
    var longWork = LongWork()
    /// An update that waits for the end of long work.
    weak var waitingUpdate: Connection?
    var keeper: ControlLink?
    private(set) lazy var updates = UpdateRunner(self)
    /// Whether something may be kept that nobody names: looked for when nobody asks for anything.
    var mayHaveOrphans = false
    /// Why this server has no state; nil when it has.
    var refusal: Refusal?
    /// How the one before it ended, in words; empty when it did not.
    var predecessorsEnd = ""
    /// When to read the memory of files again, in nanoseconds.
    private var nextReading: UInt64 = 0
    let requests: RequestLedger
    let keeperWatch: KeeperWatch
    /// How long nobody was served when this process took over, in nanoseconds; nil when it took nothing over.
    var blackout: UInt64?

    init(
        _ store: KeptDescriptors, _ orchestrator: Orchestrator, _ keeper: ControlLink?, _ workers: WorkerPool,
        _ log: Log,
        _ settings: Settings
    ) throws {
        self.settings = settings
        self.workers = workers
        self.store = store
        self.orchestrator = orchestrator
        self.keeper = keeper
        self.log = log
        let limit = DescriptorLimit.now
        // The rest is for descriptors that come with messages, which would otherwise be cut.
        let quota = Quota(
            mostOfProcess: limit - min(limit / 2, MessageSocket.mostDescriptors + 48),
            mostOfUser: settings.userDescriptors, memory: settings.memory,
            isOpenToEverybody: settings.isOpenToEverybody)
        work = try WorkQueue()
        connections = ConnectionTable(store, work, quota)
        acceptor = Acceptor(store, orchestrator, connections, work, log)
        let memory = try store.descriptor(.memory).map { try ControlMemory($0) }
        requests = RequestLedger(memory)
        keeperWatch = KeeperWatch(memory, patience: settings.silence, log)
    }

    // MARK: Serving

    func run() throws -> Never {
        while true {
            let events = try work.wait(patience)
            if events.isEmpty && mayHaveOrphans && work.isIdle && longWork.isIdle { releaseOrphans() }
            resumePostponed()
            keeperWatch.tick(keeper)
            endRefusalIfDue()
            try step(events)
            noticeDeafKeeper()
            log.sayOmissions()
            readMemoryAgain()
        }
    }

    /// Reads the memory of some files again, now and then.
    private func readMemoryAgain() {
        guard store.measuresMemory else { return }
        let now = monotonicNanoseconds()
        guard now >= nextReading else { return }
        nextReading = now + Self.readingInterval
        store.readMemoryAgain(atMost: 1024)
    }

    /// How often the memory of files is read, in nanoseconds.
    private static let readingInterval: UInt64 = 500_000_000

    /// How long the loop may sleep, in milliseconds.
    private var patience: CInt {
        if mayHaveOrphans && longWork.isIdle || !work.isIdle { return 0 }
        if connections.hasPostponed { return Self.postponement }
        return acceptor.patience ?? CInt(HangPolicy.interval)
    }

    /// Notes what has happened, and works for a slice of time. Work that is left over stays in the scheduler.
    func step(_ events: [Poller.Event]) throws {
        let began = monotonicNanoseconds()
        acceptor.resume()
        for event in events {
            if let connection = connections[event.descriptor] {
                work.note(event, on: connection)
            } else {
                try serveOthers(event)
            }
        }
        // Looking at many ready connections takes time, too: it is at most a third of all.
        let worked = monotonicNanoseconds()
        let end = worked + max(Self.slice, 2 * (worked - began))
        var now = worked
        while now < end, let next = work.next() {
            let client = perform(next)
            let finished = monotonicNanoseconds()
            if let client { work.charge(finished - now, to: client) }
            now = finished
        }
    }

    /// How long the loop works, in nanoseconds, until it looks again at what has happened.
    private static let slice: UInt64 = 1_000_000

    /// - Returns: the client to charge; nil when the charge is made already.
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
        // Only room for the rest is an event then.
        if connection.unsent != nil, !connection.isPostponed { return sendRest(connection) }
        guard connection.unsent == nil, !connection.isWaiting, !connection.isPostponed else { return }
        if mustWait(connection) { connections.postpone(connection) } else { serve(connection) }
    }

    private func serveOthers(_ event: Poller.Event) throws {
        let number = event.descriptor.rawValue
        if number == keeper?.descriptor.rawValue {
            try readKeeper()
        } else if number == workers.events.rawValue {
            finishLongWork()
        } else if number == store.descriptor(.listener)?.rawValue {
            work.noteListener(mayAccept: true)
        } else if number == store.descriptor(.rootListener)?.rawValue {
            acceptor.acceptRoot(event.descriptor)
        } else if number == store.descriptor(.control)?.rawValue {
            acceptControl(event.descriptor)
        }
    }

    /// One request.
    func serve(_ connection: Connection) {
        guard let message = peek(connection) else { return }
        noteArrival(connection)
        // The queue has copies, too, so these are closed after the answer has taken the message out of the queue.
        defer {
            if connection.isWorking {
                connection.descriptorsAtWork = message.descriptors
            } else {
                close(message.descriptors, of: connection)
            }
        }
        if message.isTruncated {
            // The rest of the message has the last copies of its descriptors, and must not be dropped by this thread.
            if isOutOfDescriptors(connection) { return connections.postpone(connection) }
            log.say("a message of user \(connection.user) was cut: its connection is closed")
            return close(connection)
        }
        requests.begin(message.bytes, on: connection.slot)
        let reply = answer(message, connection)
        requests.end(message.bytes)
        if let reply { send(reply, to: connection) }
    }

    /// Closes the descriptors of a message. A close may be the last one, and sleep, if the client has closed its own
    /// copies.
    func close(_ descriptors: [FileDescriptor], of connection: Connection) {
        if descriptors.count == 1, connection.hasPreserved {
            store.close(copy: descriptors[0], of: connection.user)
        } else {
            store.close(descriptors, of: connection.user)
        }
        connection.hasPreserved = false
    }

    /// Notes that the client has the descriptor of its incoming session, because it made a request on it.
    private func noteArrival(_ connection: Connection) {
        guard !connection.hasArrived, connection.isOutgoing == false else { return }
        var label = connection.label
        label.traits.insert(.hasArrived)
        connections.relabel(connection, label)
    }

    /// Whether this process cut the message, for want of descriptors, and not its sender.
    private func isOutOfDescriptors(_ connection: Connection) -> Bool {
        do throws(SystemCallError) {
            _ = try connection.descriptor.duplicated()
            return false
        } catch {
            return [.tooManyOpenFiles, .tooManyOpenFilesInSystem].contains(error.errno)
        }
    }

    private func peek(_ connection: Connection) -> ReceivedMessage? {
        for _ in 0..<2 {
            do throws(SystemCallError) {
                guard let message = try connection.descriptor.receive(.peeking) else {
                    close(connection, mayTakeLong: true)
                    return nil
                }
                return message
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable: return nil
                // Said once, when the peer closed without having read all: what it sent is still there.
                case .connectionReset: continue
                default:
                    close(connection, mayTakeLong: true)
                    return nil
                }
            }
        }
        return nil
    }

    /// Its request stays where it is, and is not looked at, until it is answered.
    func wait(_ connection: Connection) {
        connection.isWaiting = true
        work.change(connection.descriptor, to: .ending)
    }

    /// - Returns: nil when it is answered later.
    private func answer(_ message: ReceivedMessage, _ connection: Connection) -> Reply? {
        let request: Request
        do throws(Malformed) {
            request = try connection.decoder.request(message.bytes)
        } catch {
            return Reply(connection.isDead ? Self.dead : error.error).completed(for: error)
        }
        let known = answerAgain(request, connection) ?? requests.refusal.map { Reply($0) }
        return (known ?? perform(request, message.descriptors, connection))?.completed(for: request)
    }

    /// What a predecessor had done, and may not have said.
    private func answerAgain(_ request: Request, _ connection: Connection) -> Reply? {
        guard request.tag != 0, let answer = orchestrator.answer(on: connection.slot), answer.request.tag == request.tag
        else { return nil }
        var reply = Reply(answer.result, body: answer.result == 0 ? request.body : explained(request))
        if let unsent = sessions.takeUnsent(for: connection.slot) {
            reply.descriptor = unsent
            reply.isOwned = true
        } else if let entry = store.entry(answer.slot), entry.kind == .file {
            reply.descriptor = entry.descriptor
            reply.kept = answer.slot
        }
        return reply
    }

    /// An update or a reload of which nobody knows any more how far it had come; what came of it is what runs.
    private func explained(_ request: Request) -> [UInt8] {
        guard request.call.isPrivileged else { return request.body }
        let why = "\(predecessorsEnd) before it could answer; \(ownExecutable()) runs now, as process \(getpid())"
        return UpdateCall(text: why).body
    }

    // MARK: Answering

    func send(_ reply: Reply, to connection: Connection) {
        // Who went meanwhile is not answered: the number of his descriptor may be another's.
        guard connections.contains(connection) else {
            return finish(reply, of: connection.user)
        }
        if connection.isWaiting {
            connection.isWaiting = false
            work.change(connection.descriptor, to: .reading)
        }
        do throws(SystemCallError) {
            try connection.descriptor.sendBeyondLimit(
                reply.response.bytes, reply.descriptor.map { [$0] } ?? [])
        } catch {
            if error.errno == .resourceTemporarilyUnavailable || error.isShortage {
                return sendLater(reply, connection, error)
            }
            // Nobody is there to be answered; its end is told by the poller.
        }
        try? connection.descriptor.discardMessage()
        finish(reply, of: connection.user)
    }

    private func sendLater(_ reply: Reply, _ connection: Connection, _ error: SystemCallError) {
        connection.unsent = reply
        connection.unsent?.isDelayed = true
        if error.isShortage {
            connections.postpone(connection)
        } else {
            work.change(connection.descriptor, to: .writing)
        }
    }

    func finish(_ reply: Reply, of user: SessionOwner) {
        if let descriptor = reply.descriptor {
            if reply.isOwned { try? closeDescriptor(descriptor) }
            // After a delay the file may be in no slot any more.
            if reply.isCopy {
                if reply.isDelayed {
                    store.close([descriptor], of: user)
                } else {
                    store.close(copy: descriptor, of: user)
                }
            }
        }
        if let kept = reply.kept { store.release(kept) }
        store.flush()
    }

    func sendRest(_ connection: Connection) {
        guard let reply = connection.unsent else { return }
        connection.unsent = nil
        work.change(connection.descriptor, to: .reading)
        send(reply, to: connection)
    }
}
