// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform

/// A place in the order of all sessions and their files. If the number of the file is 0, it is the place of the
/// session, and otherwise the place of that file of the session. Two zeros are the beginning.
///
/// A boot uses no number twice, so that a place keeps its meaning while sessions come and go.
package struct StatusPosition: Equatable, Sendable {
    /// The number of a session.
    package var session: UInt64
    /// The number of a file of the session, or 0.
    package var file: UInt64

    /// A place.
    package init(session: UInt64 = 0, file: UInt64 = 0) {
        self.session = session
        self.file = file
    }
}

/// A part of the status: some sessions and files, in order.
package struct StatusPage: Sendable {
    /// A session with some of its files.
    package struct Part: Sendable {
        /// The number of the session.
        package let number: UInt64
        /// The session, with the files of this part.
        package let session: Status.Session
        /// The numbers of these files.
        package let fileNumbers: [UInt64]
        /// The reason, for each of these files, why it cannot be frozen now, or why the last update left it out; nil
        /// without one.
        package internal(set) var problems: [String?]
        /// Whether files of the session came before this part.
        package let isContinued: Bool
    }

    /// The parts, in order. Only the first one can be continued.
    package internal(set) var parts: [Part]
    /// Whether this page is the last one.
    package let isLast: Bool
}

/// The status without sessions.
package struct StatusSummary: Sendable {
    /// The number of updates so far: 0 in the first boot.
    package let updateNumber: UInt64
    /// The FLBs, incoming ones first.
    package let flbs: [Status.FLB]
    /// The size of the arena in bytes.
    package let arenaSize: UInt64
    /// The bytes of the arena that are in use.
    package let arenaUsed: UInt64
}

extension Orchestrator {
    /// The status without its sessions.
    package func statusSummary() throws(LiveUpdateError) -> StatusSummary { try enabled().statusSummary() }

    /// The sessions and files after a place. The cost depends on the size of the page, and not on all sessions and
    /// files.
    ///
    /// - Parameters:
    ///   - position: the place of the last session or file that is known already.
    ///   - user: the user of the sessions; nil for all users.
    ///   - most: the most sessions and files in the page.
    /// - Returns: the page.
    /// - Throws: as ``open()``; ENODEV when the boot has ended.
    package func statusPage(
        after position: StatusPosition, of user: SessionUser?, most: Int
    ) throws(LiveUpdateError) -> StatusPage {
        try enabled().statusPage(after: position, of: user, most: most)
    }
}

extension Boot {
    func statusSummary() throws(LiveUpdateError) -> StatusSummary {
        try ensureOpen()
        try checkOpen()
        let (number, flbs) = read { state in (state.updateNumber, state.flbs(.incoming) + state.flbs(.outgoing)) }
        return StatusSummary(
            updateNumber: number, flbs: flbs.map(Status.FLB.init), arenaSize: arena.size, arenaUsed: arena.used)
    }

    func statusPage(
        after position: StatusPosition, of user: SessionUser?, most: Int
    ) throws(LiveUpdateError) -> StatusPage {
        try request(.shared) { () throws(LiveUpdateError) in
            var page = read { $0.page(after: position, of: user, most: most) }
            for index in page.parts.indices where page.parts[index].session.direction == .outgoing {
                page.parts[index].problems = obstacles(page.parts[index])
            }
            return page
        }
    }

    /// The reasons why files of a session cannot be frozen now. A session with a request under way is not looked at,
    /// because its files may be changing.
    private func obstacles(_ part: StatusPage.Part) -> [String?] {
        let id = SessionID(value: part.number)
        guard let lock = lock(of: id) else { return part.problems }
        return lock.withLockIfFree {
            part.fileNumbers.map { number in
                guard let file = read({ $0.files[FileID(value: number)] }), file.session == id else {
                    return nil
                }
                let context = context(file, session: part.session.name)
                return context.descriptor == nil
                    ? nil : handler(of: file).freezeObstacle(context)?.reason(ofToken: file.token)
            }
        } ?? part.problems
    }
}

extension BootState {
    func page(after position: StatusPosition, of user: SessionUser?, most: Int) -> StatusPage {
        var parts: [StatusPage.Part] = []
        var left = most
        if let session = sessions[SessionID(value: position.session)], user == nil || session.holder.user == user {
            let files = session.files[session.files.place(of: FileID(value: position.file), isBehind: true)...]
            if !files.isEmpty {
                parts.append(part(session, files.prefix(left), isContinued: true))
                left -= min(left, files.count)
                if files.count > parts[0].fileNumbers.count { return StatusPage(parts: parts, isLast: false) }
            }
        }
        for id in order.sessions(after: position.session, of: user) {
            guard left > 0, let session = sessions[id] else { return StatusPage(parts: parts, isLast: false) }
            left -= 1
            parts.append(part(session, session.files.prefix(left), isContinued: false))
            if session.files.count > left { return StatusPage(parts: parts, isLast: false) }
            left -= session.files.count
        }
        return StatusPage(parts: parts, isLast: true)
    }

    private func part(_ session: SessionState, _ ids: ArraySlice<FileID>, isContinued: Bool) -> StatusPage.Part {
        let files = ids.compactMap { self.files[$0] }
        return StatusPage.Part(
            number: session.id.value, session: Status.Session(session, files: files),
            fileNumbers: files.map(\.id.value), problems: files.map(\.leftOut), isContinued: isContinued)
    }
}
