import Glibc
import Handover
import LiveUpdate
import LiveUpdateHandlers
import LiveUpdateProtocol
import Platform
import SystemPackage

/// The orchestrator's process: one thread, which answers one request after the other.
///
/// 1. What ended is ended first: so close and create of the same name in one program never meet.
/// 2. Then each client that has a request gets one done, as far as its share of the ``Turn`` goes. It stays in the socket's queue until it was answered; what must
///    not be done twice is committed together with its answer (``LiveUpdate/Answer``).
/// 3. Whoever does not read gets nothing done until he does.
///
/// It keeps nothing that the journal or the keeper does not have: ``resume()`` makes all of it again.
final class Server {
    let store: KeptDescriptors
    let orchestrator: Orchestrator
    let poller: Poller
    let log: Log
    let settings: Settings
    /// Connections, devices and programs of each user.
    var clients: [SessionOwner: Int] = [:]
    var keeper: ControlLink?
    var connections: [CInt: Connection] = [:]
    /// How many descriptors are kept at most: some are left for what comes with messages, which would be cut without.
    let mostDescriptors: Int
    /// By the session's number: those that somebody holds.
    var attached: [UInt64: Connection] = [:]
    /// Detached sessions that nobody holds, by number.
    var detached: [UInt64: Session] = [:]
    var update = UpdateState()
    /// Whether something may be kept that nobody names: looked for when nobody asks for anything.
    private var mayHaveOrphans = false
    /// How the one before it ended, in words; empty when it did not.
    var predecessorsEnd = ""
    private var turns: UInt64 = 0
    /// False when there was no descriptor left for whoever wants to connect.
    private var isAccepting = true
    /// Whether that was said.
    private var hasFoundNoRoom = false
    /// Clients' ends of sessions that a predecessor has not sent, by the connection that asked.
    var unsentSessions: [DescriptorSlot: FileDescriptor] = [:]
    /// How long nobody was served when this process took over, in nanoseconds; nil when it took nothing over.
    var blackout: UInt64?

    init(
        _ store: KeptDescriptors, _ orchestrator: Orchestrator, _ keeper: ControlLink?, _ log: Log, _ settings: Settings
    ) throws {
        self.settings = settings
        self.store = store
        self.orchestrator = orchestrator
        self.keeper = keeper
        self.log = log
        let limit = DescriptorLimit.now
        mostDescriptors = limit - min(limit / 2, MessageSocket.mostDescriptors + 48)
        poller = try Poller()
    }

    // MARK: Beginning

    /// Finds its connections and sessions again.
    func resume() throws {
        if let keeper { try poller.add(keeper.descriptor, for: .reading) }
        for kind in [DescriptorKind.control, .listener] {
            if let listener = store.descriptor(kind) { try poller.add(listener, for: .reading) }
        }
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
                let asker = Asker(user: session.holder.owner, process: 0)
                attached[session.number] = try add(descriptor, slot, .session(session), asker)
            } else {
                _ = try add(descriptor, slot, .dead, Asker(user: .max, process: 0))
            }
        }
        try resumePrograms()
        for slot in store.slots(.client) {
            guard let descriptor = store.entry(slot)?.descriptor else { continue }
            _ = try addClient(descriptor, slot)
        }
        // Of a life before this keeper's: its numbers are given anew.
        for slot in (try? orchestrator.answeredConnections) ?? [] where store.entry(slot) == nil {
            orchestrator.forget(slot)
        }
        try renewUnsentSessions()
        mayHaveOrphans = true
    }

    @discardableResult
    func add(
        _ descriptor: FileDescriptor, _ slot: DescriptorSlot, _ peer: Connection.Peer, _ asker: Asker
    ) throws -> Connection {
        let connection = Connection(descriptor, slot, peer, asker)
        connections[descriptor.rawValue] = connection
        if let owner = peer.owner { clients[owner, default: 0] += 1 }
        try poller.add(descriptor, for: peer.isSocket ? .reading : .ending)
        return connection
    }

    private func addClient(_ descriptor: FileDescriptor, _ slot: DescriptorSlot) throws {
        let peer = try? descriptor.peer()
        let asker = Asker(user: peer?.user ?? .max, process: peer?.process ?? 0)
        try add(descriptor, slot, .client(asker.user), asker)
    }

    /// Files that were kept and never committed, or let go and not yet released, by who died then.
    private func releaseOrphans() {
        mayHaveOrphans = false
        guard let status = try? orchestrator.status() else { return }
        var named = Set(status.sessions.flatMap(\.files).map(\.slot))
        for connection in connections.values {
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
        defer { message.close() }
        let request = try? Request(
            message.bytes, isOnSession: connection.isOnSession, isOutgoing: connection.isOutgoing)
        return request?.tag == answer.request.tag
    }

    // MARK: Serving

    func run() throws -> Never {
        while true {
            let events = try poller.wait(mayHaveOrphans ? 0 : isAccepting ? -1 : 100)
            if events.isEmpty && mayHaveOrphans { releaseOrphans() }
            try step(events)
            noticeDeafKeeper()
        }
    }

    func step(_ events: [Poller.Event]) throws {
        if !isAccepting { accept(again: true) }
        var turn = Turn()
        var others: [Poller.Event] = []
        for event in events {
            if let connection = connections[event.descriptor.rawValue] {
                turn.add(connection, event)
            } else {
                others.append(event)
            }
        }
        turns += 1
        // Whose ends are not all done waits: his names are not free yet.
        var busy: Set<SessionOwner> = []
        for (asker, ready) in turn.askers where !ready.ended.isEmpty {
            if !turn.share(ready.ended, end) { busy.insert(asker.user) }
        }
        for event in others { try serveOthers(event) }
        for (asker, ready) in turn.askers where !ready.asking.isEmpty && !busy.contains(asker.user) {
            // Who was served last comes last.
            let asking =
                ready.asking.count == 1
                ? ready.asking : ready.asking.sorted { $0.connection.turn < $1.connection.turn }
            _ = turn.share(asking) { serve($0.connection, $0.event) }
        }
    }

    private func serve(_ connection: Connection, _ event: Poller.Event) {
        // Who was closed meanwhile is not served: the number of his descriptor may be another's.
        guard connections[connection.descriptor.rawValue] === connection else { return }
        connection.turn = turns
        if event.isWritable { sendRest(connection) }
        if event.isReadable && connection.unsent == nil && !connection.isWaiting { serve(connection) }
    }

    private func serveOthers(_ event: Poller.Event) throws {
        let number = event.descriptor.rawValue
        if number == keeper?.descriptor.rawValue {
            try readKeeper()
        } else if number == store.descriptor(.listener)?.rawValue {
            // As many as one turn has time for.
            for _ in 0..<64 where isAccepting { guard acceptClient(event.descriptor) else { break } }
        } else if number == store.descriptor(.control)?.rawValue {
            acceptControl(event.descriptor)
        }
    }

    // MARK: Accepting

    /// - Returns: whether somebody was there.
    private func acceptClient(_ listener: FileDescriptor) -> Bool {
        let accepted: OwnedDescriptor
        do throws(SystemCallError) {
            accepted = try listener.acceptConnection()
        } catch {
            // Who connected went, or another process took it: the next one is told of.
            let passing: [Errno] = [.resourceTemporarilyUnavailable, .connectionAbort, .interrupted]
            if !passing.contains(error.errno) { rest(error) }
            return false
        }
        hasFoundNoRoom = false
        do {
            let user = try accepted.borrowed.peer().user
            // Few of them are always there: to let go of something by.
            guard hasRoom(for: user) || (clients[user, default: 0] < 4 && store.count < mostDescriptors) else {
                try accepted.borrowed.send(Response(refusingWith: -Errno.tooManyOpenFiles.rawValue).bytes)
                return true
            }
            let slot = store.take(accepted, .client)
            guard let descriptor = store.descriptor(in: slot) else { return true }
            try addClient(descriptor, slot)
        } catch {
            log.say("a connection was not accepted: \(error)")
        }
        return true
    }

    /// Without a descriptor for them, those that wait would wake this process for ever: they wait until something else has
    /// happened, or a moment.
    private func rest(_ error: SystemCallError) {
        if !hasFoundNoRoom {
            log.say("nobody can connect until a descriptor is free (luod --max-descriptors N): \(error)")
        }
        hasFoundNoRoom = true
        accept(again: false)
    }

    private func accept(again: Bool) {
        guard let listener = store.descriptor(.listener) else { return }
        isAccepting = again
        try? poller.change(listener, to: again ? .reading : .ending)
    }

    /// One request.
    private func serve(_ connection: Connection) {
        guard let message = peek(connection) else { return }
        defer { message.close() }
        guard !message.isTruncated || isOutOfDescriptors(connection) else {
            log.say("a client's message was cut: its connection is closed")
            return close(connection)
        }
        if let reply = answer(message, connection) { send(reply, to: connection) }
    }

    /// Then a message was cut by us, and not by who sent it.
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
                    close(connection)
                    return nil
                }
                return message
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable: return nil
                // Said once, when the peer closed without having read all: what it sent is still there.
                case .connectionReset: continue
                default:
                    close(connection)
                    return nil
                }
            }
        }
        return nil
    }

    /// Its request stays where it is, and is not looked at, until it is answered.
    func wait(_ connection: Connection) {
        connection.isWaiting = true
        try? poller.change(connection.descriptor, to: .ending)
    }

    /// - Returns: nil when it is answered later.
    private func answer(_ message: ReceivedMessage, _ connection: Connection) -> Reply? {
        let request: Request
        do throws(Malformed) {
            request = try Request(
                message.bytes, isOnSession: connection.isOnSession, isOutgoing: connection.isOutgoing)
        } catch {
            var reply = Reply(connection.isDead ? -Errno.operationNotSupportedByDevice.rawValue : error.result)
            reply.response.tag = error.tag
            return reply
        }
        if message.isTruncated {
            var reply = Reply(-Errno.tooManyOpenFiles.rawValue, body: request.body)
            reply.response.tag = request.tag
            return reply
        }
        guard var reply = answerAgain(request, connection) ?? perform(request, message.descriptors, connection) else {
            return nil
        }
        reply.response.tag = request.tag
        return reply
    }

    /// What a predecessor had done, and may not have said.
    private func answerAgain(_ request: Request, _ connection: Connection) -> Reply? {
        guard request.tag != 0, let answer = orchestrator.answer(on: connection.slot), answer.request.tag == request.tag
        else { return nil }
        var reply = Reply(answer.result, body: answer.result == 0 ? request.body : explained(request))
        if let unsent = unsentSessions.removeValue(forKey: connection.slot) {
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
        guard connections[connection.descriptor.rawValue] === connection else { return finish(reply) }
        if connection.isWaiting {
            connection.isWaiting = false
            try? poller.change(connection.descriptor, to: .reading)
        }
        do throws(SystemCallError) {
            try connection.descriptor.sendBeyondLimit(
                reply.response.bytes, reply.descriptor.map { [$0] } ?? [])
        } catch {
            if [.resourceTemporarilyUnavailable, .tooManyReferences].contains(error.errno) {
                connection.unsent = reply
                try? poller.change(connection.descriptor, to: .writing)
                return
            }
            // Nobody is there to be answered; its end is told by the poller.
        }
        try? connection.descriptor.discardMessage()
        finish(reply)
    }

    private func finish(_ reply: Reply) {
        if reply.isOwned, let descriptor = reply.descriptor { try? closeDescriptor(descriptor) }
        if let kept = reply.kept { store.release(kept) }
        store.flush()
    }

    private func sendRest(_ connection: Connection) {
        guard let reply = connection.unsent else { return }
        connection.unsent = nil
        try? poller.change(connection.descriptor, to: .reading)
        send(reply, to: connection)
    }

    // MARK: Ending

    /// Does what was still asked, and closes.
    private func end(_ connection: Connection) {
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
    private func detach(_ session: Session) {
        var holder = session.holder
        if holder.slot != .lost {
            // Its number will be another descriptor's.
            holder.slot = .lost
            try? session.hold(by: holder)
        }
        detached[session.number] = session
    }
}

extension Connection {
    var session: Session? { if case .session(let session) = peer { session } else { nil } }

    var isDead: Bool { if case .dead = peer { true } else { false } }

    var isOnSession: Bool { peer.user == nil }

    var isOutgoing: Bool? { if case .session(let session) = peer { session.direction == .outgoing } else { nil } }
}

extension Connection.Peer {
    /// Who asks on it, where calls of the device are made.
    var user: SessionOwner? {
        switch self {
        case .client(let user), .device(let user): user
        default: nil
        }
    }

    /// To whose limit it counts, besides sessions.
    var owner: SessionOwner? { if case .program(let owner) = self { owner } else { user } }

    var isSocket: Bool { if case .program = self { false } else { true } }
}
