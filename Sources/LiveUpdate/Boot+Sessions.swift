import Handover
import Platform
import SystemPackage

/// The life of a session.
///
/// Outgoing: created, files preserved, handed over with an update; or closed, which aborts it. Incoming: retrieved,
/// files retrieved, finished, closed; or closed without, which is a finish; when that is refused it can be retrieved
/// again.
extension Boot {
    func createSession(
        _ name: SessionName, _ holder: SessionHolder, _ answer: Answer?, isLimited: Bool,
        _ admit: () throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) -> Session {
        try request(.shared) { () throws(LiveUpdateError) in
            guard name.isValid else {
                throw LiveUpdateError(
                    .invalidArgument, "a session's name of \(name.bytes.count) bytes",
                    remedy: "use 1 to 63, none of them 0")
            }
            try shared.with { (shared) throws(LiveUpdateError) in
                try checkNew(name, of: holder.owner, shared)
                if isLimited { try checkSessions(of: holder.owner, &shared) }
            }
            // Without the lock on the state, because the caller may ask for the usage of its user.
            try admit()
            return try shared.with { (shared) throws(LiveUpdateError) in
                try checkNew(name, of: holder.owner, shared)
                if isLimited { try checkSessions(of: holder.owner, &shared) }
                let state = SessionState(
                    id: SessionID(value: shared.takeID()), name: name, direction: .outgoing, progress: .open,
                    holder: holder)
                try commit([.sessionAdded(state)] + answered(answer), acquiring: true, &shared)
                return open(state, &shared)
            }
        }
    }

    /// - Throws: EEXIST.
    private func checkNew(
        _ name: SessionName, of owner: SessionOwner, _ shared: borrowing Shared
    ) throws(LiveUpdateError) {
        guard shared.state.session(name, .outgoing, of: owner) == nil else {
            throw LiveUpdateError(
                .fileExists, "an outgoing session \"\(name)\" exists already",
                remedy: "close that one, or use another name")
        }
    }

    private func open(_ state: SessionState, _ shared: inout Shared) -> Session {
        let lock = Lock()
        shared.locks[state.id] = lock
        return Session(state, lock, self)
    }

    /// - Throws: EUSERS.
    private func checkSessions(of owner: SessionOwner, _ shared: inout Shared) throws(LiveUpdateError) {
        guard let most = shared.limits(of: owner)?.sessions, shared.state.usage[owner]?.sessions ?? 0 >= most else {
            return
        }
        throw LiveUpdateError(
            .tooManyUsers, "user \(owner) has \(most) sessions, which is the limit",
            remedy: "end some of them, or raise the limit")
    }

    func retrieveSession(
        _ name: SessionName, _ holder: SessionHolder, _ answer: Answer?
    ) throws(LiveUpdateError) -> Session {
        try request(.shared) { () throws(LiveUpdateError) in
            try ensureRoom()
            return try shared.with { (shared) throws(LiveUpdateError) in
                guard var state = shared.state.session(name, .incoming, of: holder.owner) else {
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
                try commit(events + answered(answer), acquiring: false, &shared)
                state.holder = holder
                return open(state, &shared)
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
        let state = shared.with { shared in
            shared.locks[session.id] === session.lock ? shared.state.sessions[session.id] : nil
        }
        guard let state else {
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

    /// - Throws: EBADF when it was closed, EINVAL for another owner.
    func hold(_ handle: Session, _ holder: SessionHolder, _ answer: Answer?) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, nil, for: "attach")
                guard holder.owner == state.holder.owner else {
                    throw LiveUpdateError(
                        .invalidArgument,
                        "session \"\(state.name)\" is user \(state.holder.owner)'s, and not user \(holder.owner)'s",
                        remedy: "a session stays with who made it")
                }
                try ensureRoom()
                try commit([.sessionHeld(state.id, holder)] + answered(answer))
            }
        }
    }

    func answered(_ answer: Answer?) -> [Event] { answer.map { [.answered($0)] } ?? [] }

    private func abort(_ session: SessionState) throws(LiveUpdateError) {
        let files = shared.with { $0.state.files(of: session) }
        try withMonitor(for: files) { () throws(LiveUpdateError) in
            waitForLoans(ofLastUsers: files.map(\.flbs))
            var gone: [LiveFLB] = []
            for file in files.reversed() {
                handler(of: file).unpreserve(context(file, session: session.name))
                gone += countDownOutgoing(file.flbs)
            }
            try end(session.id, [.sessionRemoved(session.id)], files, gone)
        }
    }

    /// Runs the callbacks of files that leave: under the monitor of FLBs, if any of the files has one.
    func withMonitor(
        for files: [FileState], _ body: () throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) {
        guard files.contains(where: { !$0.flbs.isEmpty }) else { return try body() }
        try flbMonitor.enter(body)
    }

    func abandon(_ handle: Session) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, .incoming, for: "abandon")
                try ensureRoom()
                if state.progress == .finished { return try closeIncoming(state) }
                try commit(abandoned(state))
                shared.with { $0.locks[state.id] = nil }
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
            shared.with { $0.locks[session.id] = nil }
            try commit([.sessionProgress(session.id, .waiting)])
            throw error
        }
    }

    /// Commits the end of a session or of its files, and gives back what they held.
    func end(
        _ id: SessionID, _ events: [Event], _ files: [FileState], _ gone: [LiveFLB]
    ) throws(LiveUpdateError) {
        try commit(events)
        if events.contains(.sessionRemoved(id)) { shared.with { $0.locks[id] = nil } }
        release(files)
        arena.free(gone.flatMap(\.ranges).map(\.range))
        dropIncomingTreeIfDone()
    }
}
