public import ArgumentParser
public import LiveUpdateDevice

/// Sessions that a command opens are detached: they live until `finish` or `rm`, not until the command ends.
extension LiveUpdateDevice {
    func createDetached(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        try createSession(name).detached()
    }

    /// One that was handed over, whether it was opened since or not.
    func openIncoming(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        do throws(LiveUpdateError) {
            return try retrieveSession(name).detached()
        } catch {
            // It is retrieved already.
            guard error.errno == .invalidArgument else { throw error }
            return try attachSession(name, .incoming)
        }
    }

    /// One of either direction, if it does not matter which.
    func openAny(_ name: SessionName, _ direction: Direction?) throws(LiveUpdateError) -> DeviceSession {
        do throws(LiveUpdateError) {
            return try attachSession(name, direction)
        } catch let first {
            guard direction != .outgoing, let session = try? retrieveSession(name) else { throw first }
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

    /// Lets the session end with its last descriptor, which is this one's.
    func letEnd() throws(LiveUpdateError) { try setDetached(false) }
}

extension SessionName: ExpressibleByArgument {
    /// As it is shown: `\xNN` is a byte.
    public init(argument: String) { self.init(described: argument) }
}
