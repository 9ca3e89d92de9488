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
                guard user == 0 || user == ownUser || !request.call.isPrivileged else {
                    throw LiveUpdateError(.notPermitted, "only root updates")
                }
                let client = Client(user: user, connection: connection)
                return try performOnDevice(request, descriptors.first, client)
            case .session(let session):
                return try performOnSession(request, descriptors.first, session, connection)
            case .dead, .program: throw Self.dead
            }
        } catch {
            return Reply(error)
        }
    }

    private static let dead = LiveUpdateError(
        .operationNotSupportedByDevice, "the session is of a boot that has ended", remedy: "retrieve it from this one")

    /// What keeps one more descriptor for a user is refused at the limit.
    ///
    /// - Throws: EMFILE.
    private func checkDescriptors(of user: SessionOwner) throws(LiveUpdateError) {
        guard !hasRoom(for: user) else { return }
        throw LiveUpdateError(
            .tooManyOpenFiles, "as many descriptors are kept as may be, for user \(user) or at all",
            remedy: "close connections, finish sessions, or raise the limits")
    }

    /// Whether one more descriptor may be kept for a user.
    func hasRoom(for user: SessionOwner) -> Bool {
        guard store.count < mostDescriptors else { return false }
        let usage = orchestrator.usage(of: user)
        return user == 0 || clients[user, default: 0] + usage.sessions + usage.files < settings.userDescriptors
    }

    /// Who asks.
    struct Client {
        var user: SessionOwner
        var connection: Connection
    }

    // MARK: On the device

    private func performOnDevice(
        _ request: Request, _ descriptor: FileDescriptor?, _ client: Client
    ) throws(LiveUpdateError) -> Reply? {
        switch request.call {
        case .createSession:
            try checkSessionsOfKernel()
            guard let name = NameCall(request.body).name else {
                throw LiveUpdateError(.invalidArgument, "a session without a name")
            }
            try checkDescriptors(of: client.user)
            return try openSession(request, client, owner: client.user) { (holder, answer) throws(LiveUpdateError) in
                try orchestrator.createSession(name, holder: holder, answering: answer)
            }
        case .retrieveSession:
            let name = NameCall(request.body).name ?? ""
            return try openSession(request, client, owner: try ownerOfIncoming(name, client)) {
                (holder, answer) throws(LiveUpdateError) in
                try orchestrator.retrieveSession(name, holder: holder, answering: answer)
            }
        case .attachSession: return try attach(request, client)
        case .status: return try reply(with: StatusDocument(self, for: client.user).json)
        case .load, .update, .reload: return beginUpdate(request, client)
        case .serve: return try serveProgram(descriptor, client)
        case .openDevice: return try openDevice(request, client)
        case .identify: return try identify(request)
        default: throw LiveUpdateError(.invalidArgument, "not a call of the device")
        }
    }

    /// For root, whoever has one of that name, if root has none.
    private func ownerOfIncoming(_ name: SessionName, _ client: Client) throws(LiveUpdateError) -> SessionOwner {
        guard client.user == 0, !(try orchestrator.hasSession(name, .incoming, of: 0)) else { return client.user }
        return try find(name, .incoming, client).holder.owner
    }

    /// A session of a user's, or for root anybody's.
    private func find(
        _ name: SessionName?, _ direction: Direction?, _ client: Client
    ) throws(LiveUpdateError) -> Status.Session {
        let all = try orchestrator.status().sessions.filter { session in
            session.name == name && (direction == nil || session.direction == direction)
                && (client.user == 0 || session.holder.owner == client.user)
        }
        let own = all.filter { $0.holder.owner == client.user }
        guard let found = own.last ?? all.last else {
            throw LiveUpdateError(.noSuchFileOrDirectory, "no session \"\(name, default: "")\"")
        }
        return found
    }

    private func openSession(
        _ request: Request, _ client: Client, owner: SessionOwner,
        _ open: (SessionHolder, Answer?) throws(LiveUpdateError) -> Session
    ) throws(LiveUpdateError) -> Reply {
        let ends: (FileDescriptor, FileDescriptor)
        do {
            ends = try MessageSocket.pair()
        } catch {
            throw LiveUpdateError(error, "a session's descriptor")
        }
        let label = KeepLabel(cookie: (try? ends.1.socketCookie()) ?? 0)
        let slot = store.take(OwnedDescriptor(taking: ends.0), .session, label)
        // Nowhere else: its last close is to be seen at once.
        let theirs = OwnedDescriptor(taking: ends.1)
        do throws(LiveUpdateError) {
            let answer = request.tag == 0 ? nil : Answer(client.id(request), slot: slot)
            let session = try openAnew(NameCall(request.body).name, client) { () throws(LiveUpdateError) in
                try open(SessionHolder(owner: owner, slot: slot), answer)
            }
            client.connection.lastGiven = slot
            detached[session.number] = nil
            do {
                attached[session.number] = try add(ends.0, slot, .session(session), client.connection.asker)
            } catch {
                throw LiveUpdateError(.noMemory, "\(error)")
            }
        } catch {
            store.release(slot)
            store.flush()
            try? closeDescriptor(ends.1)
            throw error
        }
        var reply = Reply(0, body: request.answerBody)
        reply.descriptor = theirs.release()
        reply.isOwned = true
        return reply
    }

    /// Again, when what was in the way of it has ended.
    private func openAnew(
        _ name: SessionName?, _ client: Client, _ open: () throws(LiveUpdateError) -> Session
    ) throws(LiveUpdateError) -> Session {
        do throws(LiveUpdateError) {
            return try open()
        } catch {
            let isAnother = [.fileExists, .invalidArgument].contains(error.errno)
            guard isAnother, endUnclaimed(client.connection, where: { $0.session?.name == name }) else { throw error }
            return try open()
        }
    }

    private func attach(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        let call = NameCall(request.body)
        guard let which = AttachedDirection(rawValue: call.word) else {
            throw LiveUpdateError(.invalidArgument, "no direction of a session: \(call.word)")
        }
        let known = try find(call.name, which.direction, client)
        guard known.holder.isDetached else {
            throw LiveUpdateError(.resourceBusy, "session \"\(known.name)\" is not detached")
        }
        let session = detached.values.first {
            $0.name == known.name && $0.holder.owner == known.holder.owner
                && $0.direction == known.direction
        }
        if session == nil && known.isOpen {
            throw LiveUpdateError(.resourceBusy, "session \"\(known.name)\" is attached already")
        }
        return try openSession(request, client, owner: known.holder.owner) { (holder, answer) throws(LiveUpdateError) in
            var holder = holder
            holder.isDetached = true
            guard let session else {
                return try orchestrator.retrieveSession(known.name, holder: holder, answering: answer)
            }
            try session.hold(by: holder, answering: answer)
            return session
        }
    }

    /// A document, in a memory file.
    func reply(with text: String) throws(LiveUpdateError) -> Reply {
        do throws(SystemCallError) {
            let bytes = [UInt8](text.utf8)
            let file = try makeMemoryFile(named: "luo-status", size: 0)
            try file.borrowed.writeWhole(bytes)
            var reply = Reply(0, body: WordCall(.max).body)
            reply.descriptor = file.release()
            reply.isOwned = true
            return reply
        } catch {
            throw LiveUpdateError(error, "a document of the status")
        }
    }

    // MARK: On a session

    private func performOnSession(
        _ request: Request, _ descriptor: FileDescriptor?, _ session: Session, _ connection: Connection
    ) throws(LiveUpdateError) -> Reply {
        let answer = request.tag == 0 ? nil : Answer(connection.id(request))
        if [.preserve, .preserveHeld].contains(request.call) { try checkDescriptors(of: session.holder.owner) }
        switch request.call {
        case .preserve, .preserveHeld:
            try checkFilesOfKernel(session)
            let held = request.call == .preserveHeld ? HeldFileHandler.format : nil
            try session.preserve(
                descriptor ?? Self.none, token: FileCall(request.body).token, as: held, answering: answer)
            return Reply(0, body: request.answerBody)
        case .retrieve:
            var reply = Reply(0, body: request.answerBody)
            reply.descriptor = try session.retrieve(token: FileCall(request.body).token)
            reply.isOwned = true
            return reply
        case .get:
            var reply = Reply(0, body: request.answerBody)
            reply.descriptor = try session.get(token: FileCall(request.body).token)
            reply.isOwned = true
            return reply
        case .unpreserve:
            try session.unpreserve(token: FileCall(request.body).token, answering: answer)
            return Reply(0, body: request.answerBody)
        case .check:
            guard let descriptor else { throw LiveUpdateError(.badFileDescriptor, "no descriptor came") }
            try check(descriptor, FileCall(request.body).token, session)
            return Reply(0, body: request.answerBody)
        case .finish:
            guard WordCall(body: request.body).word == 0 else { throw Self.reserved }
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
    private static let reserved = LiveUpdateError(.invalidArgument, "what is reserved is not 0")

    /// Whether it would be preserved: it is, and is let go again. Nothing of it stays.
    private func check(
        _ descriptor: FileDescriptor, _ token: UInt64, _ session: Session
    ) throws(LiveUpdateError) {
        try session.preserve(descriptor, token: token)
        try session.unpreserve(token: token)
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

extension Server.Client {
    func id(_ request: Request) -> RequestID { connection.id(request) }
}

extension Connection {
    func id(_ request: Request) -> RequestID { RequestID(connection: slot, tag: request.tag) }
}

extension Request {
    /// The struct, as far as the client has room for it: with no number where a descriptor's would be, since it comes
    /// beside the message.
    var answerBody: [UInt8] { body }
}
