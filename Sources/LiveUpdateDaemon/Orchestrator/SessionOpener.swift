// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// Performs the calls that open a session: CREATE_SESSION, RETRIEVE_SESSION, ATTACH_SESSION.
///
/// The answer to each has the client's end of a pair of sockets. luod holds its own end in a slot, and closes its copy
/// of the client's end, so that it notices the client's last close at once.
final class SessionOpener {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let sessions: SessionTable
    private let closer: ConnectionCloser
    private let admissions: Admissions
    private let log: Log

    init(
        _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ connections: ConnectionTable,
        _ sessions: SessionTable, _ closer: ConnectionCloser, _ admissions: Admissions, _ log: Log
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.connections = connections
        self.sessions = sessions
        self.closer = closer
        self.admissions = admissions
        self.log = log
    }

    /// CREATE_SESSION.
    ///
    /// - Throws: EINVAL without a name; ENOMEM, EMFILE and EUSERS at the limits; the errors of the core.
    func create(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        guard let name = NameCall(request.body).name else {
            throw LiveUpdateError(
                .invalidArgument, "the session has no name, or a name of more than 63 bytes",
                remedy: "name it in 1 to 63 bytes, none of them 0")
        }
        let admitting: () throws(LiveUpdateError) -> Void = { () throws(LiveUpdateError) in
            try self.admissions.checkSessionsOfKernel()
            try self.admissions.checkDescriptors(of: client)
        }
        return try open(request, client) { (holder, answer) throws(LiveUpdateError) in
            let maker = SessionMaker(
                time: UInt64(clamping: wallClockNanoseconds()), client: client.connection.sessionClient)
            let session = try orchestrator.createSession(
                name, holder: holder, answering: answer, by: maker, isLimited: !client.isUnlimited, admitting: admitting
            )
            log.say("session made", .info, session.fields(for: client.connection.clientID))
            return session
        }
    }

    /// RETRIEVE_SESSION.
    ///
    /// - Throws: the errors of the core.
    func retrieve(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        let name = NameCall(request.body).name ?? ""
        return try open(request, client) { (holder, answer) throws(LiveUpdateError) in
            try orchestrator.retrieveSession(
                name, holder: holder, answering: answer, for: client.connection.sessionClient)
        }
    }

    /// ATTACH_SESSION.
    ///
    /// - Throws: EINVAL for a direction that does not exist; ENOENT; EBUSY for a session that is not detached, or that
    ///   a client has attached.
    func attach(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
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
        return try open(request, client) { (holder, answer) throws(LiveUpdateError) in
            var holder = holder
            holder.isDetached = true
            guard let session else {
                return try orchestrator.retrieveSession(
                    known.name, holder: holder, answering: answer, for: client.connection.sessionClient)
            }
            try session.attach(to: client.connection.sessionClient, by: holder, answering: answer)
            return session
        }
    }

    // MARK: Opening

    private func open(
        _ request: Request, _ client: Client,
        _ open: (SessionHolder, Answer?) throws(LiveUpdateError) -> Session
    ) throws(LiveUpdateError) -> Reply {
        let ends: (FileDescriptor, FileDescriptor)
        do {
            ends = try MessageSocket.pair()
        } catch {
            throw LiveUpdateError(error, "a session's descriptor")
        }
        let theirs = OwnedDescriptor(taking: ends.1)
        let slot = try hold(ends, client)
        do throws(LiveUpdateError) {
            let answer = request.tag == 0 ? nil : Answer(client.id(request), slot: slot)
            let session = try openAgain(NameCall(request.body).name, client) { () throws(LiveUpdateError) in
                try open(SessionHolder(user: client.user, slot: slot), answer)
            }
            client.connection.noteGiven(slot)
            sessions.removeDetached(session)
            do {
                try connections.add(ends.0, slot, .session(session), client.connection.clientID)
            } catch {
                throw LiveUpdateError(.noMemory, "\(error)")
            }
        } catch {
            store.release(now: [slot])
            throw error
        }
        var reply = Reply(0, body: request.answerBody)
        reply.descriptor = theirs.release()
        reply.isOwned = true
        return reply
    }

    /// Holds luod's end of a session's pair of sockets.
    ///
    /// - Throws: the errno of a shortage that lasts. The end is closed in this case.
    private func hold(
        _ ends: (FileDescriptor, FileDescriptor), _ client: Client
    ) throws(LiveUpdateError) -> DescriptorSlot {
        // The gate makes sure that a program with an opened device receives the descriptor.
        var traits = client.connection.label.traits.intersection(.isUnlimited)
        if client.connection.isDevice { traits.insert(.hasArrived) }
        let label = DescriptorLabel(cookie: (try? ends.1.socketCookie()) ?? 0, user: client.user, traits: traits)
        do {
            return try store.take(OwnedDescriptor(taking: ends.0), .session, label)
        } catch {
            throw LiveUpdateError(error, "holding a session's descriptor")
        }
    }

    /// Opens a session. If an unused connection prevents this, it closes that connection and tries once more.
    private func openAgain(
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
