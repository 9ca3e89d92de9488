// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The life of a session.
///
/// An outgoing session is created, files are preserved in it, and an update hands it over; or it is closed, which
/// aborts it. An incoming session is retrieved, its files are retrieved, and it is finished and closed. A close without
/// a finish finishes the session. If a handler refuses that finish, the session can be retrieved again.
extension Boot {
    func createSession(
        _ name: SessionName, _ holder: SessionHolder, _ answer: Answer?, _ maker: SessionMaker? = nil, isLimited: Bool,
        _ admit: () throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) -> Session {
        try request(.shared) { () throws(LiveUpdateError) in
            guard name.isValid else {
                throw LiveUpdateError(
                    .invalidArgument, "a session's name of \(name.bytes.count) bytes",
                    remedy: "use 1 to 63, none of them 0")
            }
            let most = isLimited ? limits(of: holder.user)?.sessions : nil
            try Self.checkNew(name, of: holder.user, read { $0 }, most)
            // The state is not locked here, because `admit` may ask for the usage of the user.
            try admit()
            let session = SessionState(
                id: SessionID(value: takeID()), name: name, direction: .outgoing, progress: .open, holder: holder)
            return try openSession(acquiring: true) { (state) throws(LiveUpdateError) in
                try Self.checkNew(name, of: holder.user, state, most)
                let made = maker.map { [Event.sessionMade(session.id, $0)] } ?? []
                return (session, [.sessionAdded(session)] + made + answered(answer))
            }
        }
    }

    /// - Throws: EEXIST; EUSERS at the user's limit.
    private static func checkNew(
        _ name: SessionName, of user: SessionUser, _ state: BootState, _ most: Int?
    ) throws(LiveUpdateError) {
        guard state.session(name, .outgoing, of: user) == nil else {
            throw LiveUpdateError(
                .fileExists, "an outgoing session \"\(name)\" exists already",
                remedy: "close that one, or use another name")
        }
        guard let most, state.usage[user]?.sessions ?? 0 >= most else { return }
        throw LiveUpdateError(
            .tooManyUsers, "user \(user) has \(most) sessions, which is the limit",
            remedy: "end some of them, or raise the limit")
    }

    func retrieveSession(
        _ name: SessionName, _ holder: SessionHolder, _ answer: Answer?, _ client: SessionClient? = nil
    ) throws(LiveUpdateError) -> Session {
        try request(.shared) { () throws(LiveUpdateError) in
            try ensureRoom()
            return try openSession(acquiring: false) { (known) throws(LiveUpdateError) in
                guard var state = known.session(name, .incoming, of: holder.user) else {
                    throw LiveUpdateError(
                        .noSuchFileOrDirectory, "no session \"\(name)\" was handed over",
                        remedy: "the status lists what was; a session that was finished and closed is gone")
                }
                guard state.progress == .waiting else {
                    throw LiveUpdateError(
                        .invalidArgument, "session \"\(name)\" was retrieved already and is open",
                        remedy: "use the session that is open (openSessions), or close it first")
                }
                var holder = holder
                if state.holder.isDetached { holder.isDetached = true }
                var events: [Event] = [.sessionProgress(state.id, .open)]
                if state.holder != holder { events.append(.sessionHeld(state.id, holder)) }
                if state.client != client { events.append(.sessionOpened(state.id, client)) }
                state.holder = holder
                return (state, events + answered(answer))
            }
        }
    }

    /// The session's present state.
    ///
    /// - Throws: EINVAL for the wrong direction, EBADF when it was closed.
    func session(
        _ session: Session, _ direction: Direction?, for action: String
    ) throws(LiveUpdateError) -> SessionState {
        if let direction, session.direction != direction {
            throw LiveUpdateError(
                .invalidArgument, "\(action) on session \"\(session.name)\", which is \(session.direction)",
                remedy: "preserve in an outgoing session; retrieve from and finish an incoming one")
        }
        guard let state = state(of: session) else {
            throw LiveUpdateError(
                .badFileDescriptor, "session \"\(session.name)\" is closed", remedy: "create or retrieve it again")
        }
        return state
    }

    func close(_ handle: Session) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, nil, for: "close")
                try ensureRoom()
                switch state.direction {
                case .outgoing: try abort(state)
                case .incoming: try closeIncoming(state)
                }
            }
        }
    }

    /// - Throws: EBADF when it was closed, EINVAL for another user.
    func hold(
        _ handle: Session, _ holder: SessionHolder, _ answer: Answer?, _ client: SessionClient?
    ) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, nil, for: "attach")
                guard holder.user == state.holder.user else {
                    throw LiveUpdateError(
                        .invalidArgument,
                        "session \"\(state.name)\" belongs to user \(state.holder.user), not to user \(holder.user)",
                        remedy: "use a client of the user that made the session")
                }
                try ensureRoom()
                let opened = state.client == client ? [] : [Event.sessionOpened(state.id, client)]
                try commit([.sessionHeld(state.id, holder)] + opened + answered(answer))
            }
        }
    }

    func answered(_ answer: Answer?) -> [Event] { answer.map { [.answered($0)] } ?? [] }

    private func abort(_ session: SessionState) throws(LiveUpdateError) {
        let files = read { $0.files(of: session) }
        try flbs.enter(for: files) { () throws(LiveUpdateError) in
            flbs.waitForLoans(ofLastUsers: files.map(\.flbs))
            var gone: [Extent] = []
            for file in files.reversed() {
                handler(of: file).unpreserve(context(file, session: session.name))
                gone += flbs.countDownOutgoing(file.flbs, self)
            }
            try end(session.id, [.sessionRemoved(session.id)], files, gone)
        }
    }

    func abandon(_ handle: Session) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, .incoming, for: "abandon")
                try ensureRoom()
                if state.progress == .finished { return try closeIncoming(state) }
                // The handles are closed before the session can be retrieved again, because that opens new ones.
                closeHandles(of: state.id)
                try commit(abandoned(state))
            }
        }
    }

    func leave(_ handle: Session) throws(LiveUpdateError) -> Bool {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, nil, for: "leave")
                guard state.direction == .incoming, state.progress == .open else { return false }
                try ensureRoom()
                closeHandles(of: state.id)
                try commit(abandoned(state))
                return true
            }
        }
    }

    private func abandoned(_ session: SessionState) -> [Event] {
        var holder = session.holder
        holder.slot = .lost
        let waiting = Event.sessionProgress(session.id, .waiting)
        return holder == session.holder ? [waiting] : [waiting, .sessionHeld(session.id, holder)]
    }

    func closeForcibly(_ handle: Session) throws(LiveUpdateError) -> [String] {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, nil, for: "close")
                try ensureRoom()
                switch state.direction {
                case .outgoing:
                    try abort(state)
                    return []
                case .incoming:
                    let refusals = refusalsToFinish(state)
                    try finishFiles(of: state, [.sessionRemoved(state.id)])
                    return refusals
                }
            }
        }
    }

    private func closeIncoming(_ session: SessionState) throws(LiveUpdateError) {
        do throws(LiveUpdateError) {
            try finish(session, [.sessionRemoved(session.id)])
        } catch {
            closeHandles(of: session.id)
            try commit([.sessionProgress(session.id, .waiting)])
            throw error
        }
    }

    /// Commits the end of a session or of its files, and releases their descriptors and ranges.
    func end(
        _ id: SessionID, _ events: [Event], _ files: [FileState], _ gone: [Extent]
    ) throws(LiveUpdateError) {
        try commit(events)
        if events.contains(.sessionRemoved(id)) { closeHandles(of: id) }
        release(files)
        arena.free(gone)
        dropIncomingTreeIfDone()
    }
}
