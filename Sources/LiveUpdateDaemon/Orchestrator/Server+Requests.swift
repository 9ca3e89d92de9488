import LiveUpdate
import LiveUpdateHandlers
import LiveUpdateProtocol
import Platform
import SystemPackage

/// What each request does.
extension Server {
    /// - Returns: nil when it is answered later.
    func perform(_ request: Request, _ descriptors: [FileDescriptor], _ connection: Connection) -> Reply? {
        do throws(LiveUpdateError) {
            switch connection.peer {
            case .client(let user), .device(let user):
                guard user == 0 || user == ownUser || !request.call.isPrivileged || refusal != nil else {
                    throw LiveUpdateError(
                        .notPermitted, "only root and the user that luod runs as may do this", remedy: "run as root")
                }
                let client = Client(user: user, connection: connection)
                if let refusal { return try perform(request, client, refusing: refusal) }
                return try performOnDevice(request, descriptors.first, client)
            case .session(let session):
                return try performOnSession(request, descriptors.first, session, connection)
            case .dead, .program: throw Self.dead
            }
        } catch {
            return Reply(error)
        }
    }

    static let dead = LiveUpdateError(
        .operationNotSupportedByDevice, "the session or device is of a boot that has ended, or was removed",
        remedy: "retrieve or attach the session in this boot (luoctl session list shows them)")

    /// Checks that one more descriptor may be held for a client.
    ///
    /// - Throws: EMFILE.
    func checkDescriptors(of client: Client) throws(LiveUpdateError) {
        try admission(of: client.user, client.connection).checkDescriptors()
    }

    /// The limits for a client that acts as a user, as they are now.
    func admission(of user: SessionOwner, _ connection: Connection) -> Admission {
        Admission(
            user: user, isUnlimited: connection.label.traits.contains(.isUnlimited), quota: connections.quota,
            accepted: acceptor.count, kernel: settings.kernel, store: store, orchestrator: orchestrator)
    }

    // MARK: On the device

    private func performOnDevice(
        _ request: Request, _ descriptor: FileDescriptor?, _ client: Client
    ) throws(LiveUpdateError) -> Reply? {
        switch request.call {
        case .createSession: return try create(request, client)
        case .retrieveSession:
            let name = NameCall(request.body).name ?? ""
            return try openSession(request, client) { (holder, answer) throws(LiveUpdateError) in
                try orchestrator.retrieveSession(name, holder: holder, answering: answer)
            }
        case .attachSession: return try attach(request, client)
        case .removeSession:
            // The thread that works on the session ends soon.
            if longWork.isAtWork(request, client.user) {
                connections.postpone(client.connection)
                return nil
            }
            return removeSession(request, client)
        case .asUser: return try act(request, client)
        case .status: return try answerStatus(request, client)
        case .ping: return Reply(0, body: request.answerBody)
        case .update, .reload:
            return longWork.mustWait(update: client.connection) ? nil : updates.begin(request, client)
        case .load: return updates.begin(request, client)
        case .stop: return beginStop(request, client)
        case .serve: return try serveProgram(descriptor, client)
        case .openDevice: return try openDevice(request, client)
        case .identify: return try identify(request)
        default: throw LiveUpdateError(.invalidArgument, "not a call of the device")
        }
    }

    private func create(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        guard let name = NameCall(request.body).name else {
            throw LiveUpdateError(
                .invalidArgument, "the session has no name, or a name of more than 63 bytes",
                remedy: "name it in 1 to 63 bytes, none of them 0")
        }
        let admitting: () throws(LiveUpdateError) -> Void = { () throws(LiveUpdateError) in
            try self.checkSessionsOfKernel()
            try self.checkDescriptors(of: client)
        }
        return try openSession(request, client) { (holder, answer) throws(LiveUpdateError) in
            try orchestrator.createSession(
                name, holder: holder, answering: answer, isLimited: !client.isUnlimited, admitting: admitting)
        }
    }

    /// Makes the connection act as another user from now on, without that user's limits.
    ///
    /// - Throws: EPERM for a client other than root.
    private func act(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        let connection = client.connection
        guard case .client = connection.peer, (try? connection.descriptor.peer())?.user == 0 else {
            throw LiveUpdateError(.notPermitted, "only root acts as another user", remedy: "run as root")
        }
        let user = WordCall(body: request.body).word
        guard user != .max else {
            throw LiveUpdateError(.invalidArgument, "\(user) is not the number of a user", remedy: "name another user")
        }
        connections.change(connection, to: .client(user))
        var label = connection.label
        label.user = user
        label.traits.insert(.isUnlimited)
        connections.relabel(connection, label)
        return Reply(0, body: request.answerBody)
    }

    private func openSession(
        _ request: Request, _ client: Client,
        _ open: (SessionHolder, Answer?) throws(LiveUpdateError) -> Session
    ) throws(LiveUpdateError) -> Reply {
        let ends: (FileDescriptor, FileDescriptor)
        do {
            ends = try MessageSocket.pair()
        } catch {
            throw LiveUpdateError(error, "a session's descriptor")
        }
        // Nowhere else: its last close is to be seen at once.
        let theirs = OwnedDescriptor(taking: ends.1)
        let slot = try hold(ends, client)
        do throws(LiveUpdateError) {
            let answer = request.tag == 0 ? nil : Answer(client.id(request), slot: slot)
            let session = try openAnew(NameCall(request.body).name, client) { () throws(LiveUpdateError) in
                try open(SessionHolder(owner: client.user, slot: slot), answer)
            }
            client.connection.noteGiven(slot)
            sessions.removeDetached(session)
            do {
                try connections.add(ends.0, slot, .session(session), client.connection.clientID)
            } catch {
                throw LiveUpdateError(.noMemory, "\(error)")
            }
        } catch {
            store.release(slot)
            store.flush()
            throw error
        }
        var reply = Reply(0, body: request.answerBody)
        reply.descriptor = theirs.release()
        reply.isOwned = true
        return reply
    }

    /// Holds luod's end of a session's two sockets.
    ///
    /// - Throws: the errno of a shortage that lasts. The end is closed then.
    private func hold(
        _ ends: (FileDescriptor, FileDescriptor), _ client: Client
    ) throws(LiveUpdateError) -> DescriptorSlot {
        // The gate knows that the descriptor arrives at a program that has the device open.
        var traits = client.connection.label.traits.intersection(.isUnlimited)
        if client.connection.isDevice { traits.insert(.hasArrived) }
        let label = KeepLabel(cookie: (try? ends.1.socketCookie()) ?? 0, user: client.user, traits: traits)
        do {
            return try store.take(OwnedDescriptor(taking: ends.0), .session, label)
        } catch {
            throw LiveUpdateError(error, "holding a session's descriptor")
        }
    }

    /// Again, when what was in the way of it has ended.
    private func openAnew(
        _ name: SessionName?, _ client: Client, _ open: () throws(LiveUpdateError) -> Session
    ) throws(LiveUpdateError) -> Session {
        do throws(LiveUpdateError) {
            return try open()
        } catch {
            let isAnother = [.fileExists, .invalidArgument].contains(error.errno)
            let isInTheWay: (Connection) -> Bool = { $0.user == client.user && $0.session?.name == name }
            guard isAnother, closer.closeUnclaimed(client.connection, where: isInTheWay) else { throw error }
            return try open()
        }
    }

    private func attach(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        let call = NameCall(request.body)
        guard let which = AttachedDirection(rawValue: call.word) else {
            throw LiveUpdateError(
                .invalidArgument, "direction \(call.word) of a session does not exist",
                remedy: "say 1 for outgoing, 2 for incoming, or 0 for either")
        }
        let known = try orchestrator.find(call.name, which.direction, of: client.user)
        guard known.holder.isDetached else {
            throw LiveUpdateError(
                .resourceBusy, "session \"\(known.name)\" is not detached",
                remedy:
                    "wait for the end of the client that holds it; retrieve an incoming session that no client holds")
        }
        let session = sessions.detached(known)
        if session == nil && known.isOpen {
            throw LiveUpdateError(
                .resourceBusy, "a client has session \"\(known.name)\" attached",
                remedy: "wait for the end of that client, or remove the session (luoctl session rm --force)")
        }
        return try openSession(request, client) { (holder, answer) throws(LiveUpdateError) in
            var holder = holder
            holder.isDetached = true
            guard let session else {
                return try orchestrator.retrieveSession(known.name, holder: holder, answering: answer)
            }
            try session.hold(by: holder, answering: answer)
            return session
        }
    }

    // MARK: On a session

    private func performOnSession(
        _ request: Request, _ descriptor: FileDescriptor?, _ session: Session, _ connection: Connection
    ) throws(LiveUpdateError) -> Reply? {
        let answer = request.tag == 0 ? nil : Answer(connection.id(request))
        let token = request.call.isAboutFile ? FileCall(request.body).token : 0
        switch request.call {
        case .preserve, .preserveHeld, .check:
            let file = FileRequest(
                call: request.call, token: token, descriptor: descriptor ?? Self.none, answer: answer,
                admission: admission(of: session.holder.owner, connection))
            if file.isLong {
                longWork.begin(request, on: connection) { () throws(LiveUpdateError) in try file.preserve(in: session) }
                return nil
            }
            try file.preserve(in: session)
            if request.call != .check { connection.notePreserved() }
            return Reply(0, body: request.answerBody)
        case .retrieve: return Reply(0, body: request.answerBody, copy: try session.retrieve(token: token))
        case .get: return Reply(0, body: request.answerBody, copy: try session.get(token: token))
        case .retrieveAsHeld: return Reply(0, body: request.answerBody, copy: try session.retrieveAsHeld(token: token))
        case .unpreserve:
            try session.unpreserve(token: token, answering: answer)
            return Reply(0, body: request.answerBody)
        case .finish:
            guard WordCall(body: request.body).word == 0 else { throw Self.reserved }
            if longWork.hasManyFiles(session) {
                longWork.begin(request, on: connection) { () throws(LiveUpdateError) in try session.finish() }
                return nil
            }
            try session.finish()
            return Reply(0, body: request.answerBody)
        case .getName:
            var call = NameCall(request.body)
            guard call.word == 0 else { throw Self.reserved }
            call.name = session.name
            return Reply(0, body: [UInt8](call.body.prefix(request.size)))
        case .setDetached:
            var holder = session.holder
            holder.isDetached = WordCall(body: request.body).word != 0
            try session.hold(by: holder, answering: answer)
            return Reply(0, body: request.answerBody)
        default: throw LiveUpdateError(.invalidArgument, "not a call of a session")
        }
    }

    /// No descriptor came with the message: it is no open one.
    private static let none = FileDescriptor(rawValue: -1)
    private static let reserved = LiveUpdateError(
        .invalidArgument, "a reserved field of the struct is not 0", remedy: "set it to 0")
}

/// A request that preserves a file, or checks whether it can be preserved. A thread of the ``WorkerPool`` can do it.
struct FileRequest: Sendable {
    var call: Call
    var token: UInt64
    var descriptor: FileDescriptor
    var answer: Answer?
    var admission: Admission

    /// Whether it takes long.
    var isLong: Bool {
        guard call != .preserveHeld, let status = try? FileStatus(cached: descriptor) else { return false }
        return LongWork.isLong(size: status.size, allocated: status.allocated)
    }

    /// - Throws: ELOOP for a socket of luod's own; EMFILE and ENOSPC at the limits; the errors of the core.
    func preserve(in session: Session) throws(LiveUpdateError) {
        try session.preserve(
            descriptor, token: token, as: call == .preserveHeld ? HeldFileHandler.format : nil,
            answering: call == .check ? nil : answer, isLimited: !admission.isUnlimited
        ) { () throws(LiveUpdateError) in
            if call == .preserveHeld { try admission.refuseOwnSocket(descriptor) }
            try admission.checkFilesOfKernel(session)
            try admission.checkMemory(descriptor)
            try admission.checkDescriptors()
        }
        // A check leaves nothing behind.
        if call == .check { try session.unpreserve(token: token) }
    }
}

extension AttachedDirection {
    fileprivate var direction: Direction? {
        switch self {
        case .any: nil
        case .outgoing: .outgoing
        case .incoming: .incoming
        }
    }
}

/// The client of a request, and the user that it acts as.
struct Client {
    var user: SessionOwner
    var connection: Connection

    /// Whether the client is root, also when it acts as another user.
    var isUnlimited: Bool { connection.label.traits.contains(.isUnlimited) }

    func id(_ request: Request) -> RequestID { connection.id(request) }
}

extension Connection {
    var isDevice: Bool { if case .device = peer { true } else { false } }

    func id(_ request: Request) -> RequestID { RequestID(connection: slot, tag: request.tag) }
}

extension Call {
    fileprivate var isAboutFile: Bool { isOnSession && length == FileCall.length }
}

extension Request {
    /// The struct, as far as the client has room for it: with no number where a descriptor's would be, since it comes
    /// beside the message.
    var answerBody: [UInt8] { body }
}
