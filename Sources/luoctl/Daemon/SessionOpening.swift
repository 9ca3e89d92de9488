import LiveUpdateDevice

/// Sessions that a command opens are detached: they live until `finish` or `rm`, not until the command ends.
extension LiveUpdateDevice {
    func createDetached(_ name: String) throws(LiveUpdateError) -> DeviceSession {
        try createSession(name).detached()
    }

    /// One that was handed over, whether it was opened since or not.
    func openIncoming(_ name: String) throws(LiveUpdateError) -> DeviceSession {
        do throws(LiveUpdateError) {
            return try retrieveSession(name).detached()
        } catch {
            return try attachSession(name)
        }
    }

    /// One of either direction.
    func openAny(_ name: String) throws(LiveUpdateError) -> DeviceSession {
        do throws(LiveUpdateError) {
            return try attachSession(name)
        } catch let first {
            guard let session = try? retrieveSession(name) else { throw first }
            return try session.detached()
        }
    }
}

extension DeviceSession {
    /// Itself.
    fileprivate func detached() throws(LiveUpdateError) -> DeviceSession {
        try setDetached(true)
        return self
    }

    /// Lets it end with its last descriptor, which is this one's.
    func letEnd() throws(LiveUpdateError) { try setDetached(false) }
}
