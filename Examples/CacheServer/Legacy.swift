// SPDX-License-Identifier: Apache-2.0
import LiveUpdate

/// The session that the previous boot left. After an update it is incoming. After a crash, when the arena is in a file,
/// this process continues the same boot, and the session is unchanged.
struct Legacy {
    static let name: SessionName = "cache"
    private let session: Session?

    init(_ luo: Orchestrator) throws(LiveUpdateError) {
        if let open = try luo.openSessions.first(where: { $0.name == Self.name }) {
            session = open
        } else if try luo.status().sessions.contains(where: { $0.name == Self.name && !$0.isFinished }) {
            session = try luo.retrieveSession(Self.name)
        } else {
            session = nil
        }
    }

    /// - Returns: nil when there is no such file, or when it was lost: a memory file is gone with the last process that
    ///   held it.
    func file(_ token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor? {
        guard let session, session.tokens.contains(token) else { return nil }
        do throws(LiveUpdateError) {
            return session.direction == .incoming
                ? try session.retrieve(token: token) : try session.get(token: token)
        } catch {
            guard error.errno == .badFileDescriptor else { throw error }
            log("\(error)")
            return nil
        }
    }

    /// Closes the session, which holds its files until then. Call this before they are preserved again.
    func letGo() throws(LiveUpdateError) { try session?.close() }
}
