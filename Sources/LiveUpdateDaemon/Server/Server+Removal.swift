import LiveUpdate
import LiveUpdateProtocol
import SystemPackage

/// REMOVE_SESSION: the end of a session by its name, also while clients hold it.
extension Server {
    func removeSession(_ request: Request, _ client: Client) -> Reply {
        let call = UpdateCall(request.body)
        do throws(LiveUpdateError) {
            let overridden = try removeSession(call, of: client.user)
            return Reply(0, body: UpdateCall(text: overridden).body)
        } catch {
            return Reply(-error.errno.rawValue, body: UpdateCall(text: "\(error)").body)
        }
    }

    /// - Returns: what was overridden: one line for a client that held the session, and one for each refusal.
    /// - Throws: ENOENT; without force EBUSY while a client holds the session, or a handler cannot finish; EINVAL for a name
    ///   or a direction that is none.
    private func removeSession(_ call: UpdateCall, of user: SessionOwner) throws(LiveUpdateError) -> String {
        let name = SessionName(described: call.text)
        let directions = call.flags & (UpdateCall.outgoing | UpdateCall.incoming)
        guard name.isValid, directions != UpdateCall.outgoing | UpdateCall.incoming else {
            throw LiveUpdateError(.invalidArgument, "no name of a session, or two directions: \"\(call.text)\"")
        }
        let known = try find(name, Self.direction(directions), of: user)
        let isForced = call.flags & UpdateCall.force != 0
        let holder = connections.values.first { $0.session?.isSame(as: known) ?? false }
        if holder != nil && !isForced {
            throw LiveUpdateError(
                .resourceBusy, "a client holds session \"\(known.name)\" of user \(user)",
                remedy: "wait for its end, or force the removal (luoctl session rm --force)")
        }
        let session = try openedForRemoval(known, holder)
        var overridden = try end(session, known, isForced: isForced)
        detached[session.number] = nil
        if let holder {
            overridden.insert("a client held the session, and has none now", at: 0)
            leaveDead(holder, session, of: user)
        }
        return overridden.joined(separator: "\n")
    }

    private func openedForRemoval(
        _ known: Status.Session, _ holder: Connection?
    ) throws(LiveUpdateError) -> Session {
        if let session = holder?.session ?? detachedSession(known) { return session }
        let holder = SessionHolder(owner: known.holder.owner, isDetached: true)
        return try orchestrator.retrieveSession(known.name, holder: holder)
    }

    /// An incoming session that a handler cannot finish yet stays, without force, as it was.
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

    /// The clients that hold a session which was removed get ENODEV from now on.
    private func leaveDead(_ holder: Connection, _ session: Session, of user: SessionOwner) {
        attached[session.number] = nil
        holder.peer = .dead(user)
        quota.add(to: user)
    }

    private static func direction(_ flag: UInt32) -> Direction? {
        switch flag {
        case UpdateCall.outgoing: .outgoing
        case UpdateCall.incoming: .incoming
        default: nil
        }
    }
}

extension Session {
    fileprivate func isSame(as known: Status.Session) -> Bool {
        name == known.name && direction == known.direction && holder.owner == known.holder.owner
    }
}
