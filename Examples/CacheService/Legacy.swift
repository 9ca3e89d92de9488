import LiveUpdateDevice

/// What the process before has left with luod. Its session was detached, so it stayed; if luod was updated since, it was
/// handed over.
struct Legacy {
    static let name: SessionName = "cache"
    private let session: DeviceSession?

    /// - Throws: EBUSY when another process runs the service.
    init(_ device: LiveUpdateDevice) throws(LiveUpdateError) {
        session = try Self.unless(.noSuchFileOrDirectory) { () throws(LiveUpdateError) in
            try device.attachSession(Self.name)
        }
    }

    /// - Returns: nil when there is none, or when it was lost: luod had ended, and nobody else had it.
    func file(_ token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor? {
        guard let session else { return nil }
        return try Self.unless(.noSuchFileOrDirectory) { () throws(LiveUpdateError) in
            do throws(LiveUpdateError) {
                return try session.take(token: token)
            } catch {
                switch error.errno {
                // It came over an update.
                case .invalidArgument: return try session.retrieve(token: token)
                case .badFileDescriptor:
                    log("\(error)")
                    try session.unpreserve(token: token)
                    throw LiveUpdateError(.noSuchFileOrDirectory, "it is made anew")
                default: throw error
                }
            }
        }
    }

    /// Lets go of everything, and gives the session to preserve it in again: the same one, or, when it came over an update, a
    /// new one.
    func renewed(on device: LiveUpdateDevice) throws(LiveUpdateError) -> DeviceSession {
        // EINVAL: it is of this boot, and empty by now.
        if let session, try Self.unless(.invalidArgument, session.finish) == nil { return session }
        let new = try device.createSession(Self.name)
        try new.setDetached(true)
        try session?.setDetached(false)  // what is finished ends with its last reference
        return new
    }

    private static func unless<Value: ~Copyable>(
        _ expected: Errno, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value? {
        do throws(LiveUpdateError) {
            return try body()
        } catch {
            guard error.errno == expected else { throw error }
            return nil
        }
    }
}
