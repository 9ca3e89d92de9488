// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateProtocol
import Logging
import SystemPackage

/// REMOVE_SESSION: ends a session by its name. With force, it also ends a session that a client holds.
final class SessionRemover {
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let sessions: SessionTable
    private let log: Log

    init(_ orchestrator: Orchestrator, _ connections: ConnectionTable, _ sessions: SessionTable, _ log: Log) {
        self.orchestrator = orchestrator
        self.connections = connections
        self.sessions = sessions
        self.log = log
    }

    func perform(_ request: Request, _ client: Client) -> Reply {
        let call = UpdateCall(request.body)
        do throws(LiveUpdateError) {
            let overridden = try remove(call, of: client.user, for: client.connection.clientID)
            return Reply(0, body: UpdateCall(text: overridden).body)
        } catch {
            return Reply(-error.errno.rawValue, body: UpdateCall(text: "\(error)").body)
        }
    }

    /// - Returns: the overridden obstacles: a line for a client that held the session, and one for each refusal.
    /// - Throws: ENOENT; without force EBUSY while a client holds the session, or a handler cannot finish; EINVAL for
    ///   an invalid session name, and for both directions at once.
    private func remove(
        _ call: UpdateCall, of user: SessionUser, for client: ClientID
    ) throws(LiveUpdateError) -> String {
        let name = SessionName(described: call.text)
        let directions = call.flags & (UpdateCall.outgoing | UpdateCall.incoming)
        guard name.isValid, directions != UpdateCall.outgoing | UpdateCall.incoming else {
            throw LiveUpdateError(
                .invalidArgument, "\"\(call.text)\" is no session name, or both directions are asked for",
                remedy: "name a session in 1 to 63 bytes, and one direction or none")
        }
        let known = try orchestrator.find(name, Self.direction(directions), of: user)
        let isForced = call.flags & UpdateCall.force != 0
        let holder = connections.all.first { $0.session?.isSame(as: known) ?? false }
        if holder != nil && !isForced {
            throw LiveUpdateError(
                .resourceBusy, "a client holds session \"\(known.name)\" of user \(user)",
                remedy: "wait for its end, or force the removal (luoctl session rm --force)")
        }
        let session = try openedForRemoval(known, holder)
        let fields = session.fields(for: client)
        var overridden = try end(session, known, isForced: isForced)
        sessions.removeDetached(session)
        log.say("session removed", .info, fields)
        if let holder {
            overridden.insert("a client held the session, and has none now", at: 0)
            // Each further request of the holder fails with ENODEV.
            connections.change(holder, to: .dead(user))
        }
        return overridden.joined(separator: "\n")
    }

    private func openedForRemoval(
        _ known: Status.Session, _ holder: Connection?
    ) throws(LiveUpdateError) -> Session {
        if let session = holder?.session ?? sessions.detached(known) { return session }
        let holder = SessionHolder(user: known.holder.user, isDetached: true)
        return try orchestrator.retrieveSession(known.name, holder: holder)
    }

    /// Ends the session. Without force, an incoming session is unchanged if a handler cannot finish yet.
    private func end(
        _ session: Session, _ known: Status.Session, isForced: Bool
    ) throws(LiveUpdateError) -> [String] {
        if isForced { return try session.closeForcibly() }
        do throws(LiveUpdateError) {
            if session.direction == .incoming { try session.finish() }
        } catch {
            if !known.isOpen { try session.abandon() }
            throw error
        }
        try session.close()
        return []
    }

    private static func direction(_ flag: UInt32) -> Direction? {
        switch flag {
        case UpdateCall.outgoing: .outgoing
        case UpdateCall.incoming: .incoming
        default: nil
        }
    }
}
