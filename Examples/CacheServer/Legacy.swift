import LiveUpdateEmbedded

/// What the boot before has left of the service: after an update its session came. After a crash, when the arena is in a
/// file, this process goes on with the same boot, and the session is as it was.
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

    /// - Returns: nil when there is none, or it was lost: a memory file is gone with the last process that held it.
    func file(_ token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor? {
        guard let session, session.tokens.contains(token) else { return nil }
        do throws(LiveUpdateError) {
            return OwnedDescriptor(
                taking: session.direction == .incoming
                    ? try session.retrieve(token: token) : try session.get(token: token))
        } catch {
            guard error.errno == .badFileDescriptor else { throw error }
            log("\(error)")
            return nil
        }
    }

    /// Before the files are preserved again: until then they are held.
    func letGo() throws(LiveUpdateError) { try session?.close() }
}
