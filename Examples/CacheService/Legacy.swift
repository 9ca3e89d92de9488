// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDevice

/// The files that the previous process left with luod. Their session is detached, and so outlives that process. If luod
/// was updated since then, the session is an incoming one.
struct Legacy {
    static let name: SessionName = "cache"
    private let session: DeviceSession?
    /// The tokens of the files that are still preserved. The session is outgoing then, and getting a file from it
    /// changes nothing.
    private var preserved: Set<UInt64> = []

    /// - Throws: EBUSY when another process runs the service.
    init(_ device: LiveUpdateDevice) throws(LiveUpdateError) {
        session = try Self.unless(.noSuchFileOrDirectory) { () throws(LiveUpdateError) in
            try device.attachSession(Self.name)
        }
    }

    /// - Returns: nil when there is no such file, or when it was lost: luod ended, and no other process had the file
    ///   open.
    mutating func file(_ token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor? {
        guard let session else { return nil }
        do throws(LiveUpdateError) {
            let file = try session.get(token: token)
            preserved.insert(token)
            return file
        } catch {
            switch error.errno {
            // The session came over an update.
            case .invalidArgument: return try Self.retrieve(token, from: session)
            case .badFileDescriptor:
                log("\(error)")
                try session.unpreserve(token: token)
                return nil
            case .noSuchFileOrDirectory: return nil
            default: throw error
            }
        }
    }

    /// Whether a file is still preserved, so that it need not be preserved again.
    func isPreserved(_ token: UInt64) -> Bool { preserved.contains(token) }

    /// Returns the session of this process: the old one, or a new one when the old one came over an update.
    func renewed(on device: LiveUpdateDevice) throws(LiveUpdateError) -> DeviceSession {
        // EINVAL: the session was made since the last update, and goes on.
        if let session, try Self.unless(.invalidArgument, session.finish) == nil { return session }
        let new = try device.createSession(Self.name)
        try new.setDetached(true)
        try session?.setDetached(false)  // a finished session ends with its last reference
        return new
    }

    private static func retrieve(
        _ token: UInt64, from session: DeviceSession
    ) throws(LiveUpdateError) -> OwnedDescriptor? {
        do throws(LiveUpdateError) {
            return try session.retrieve(token: token)
        } catch {
            guard [.noSuchFileOrDirectory, .badFileDescriptor].contains(error.errno) else { throw error }
            log("\(error)")
            return nil
        }
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
