// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import LiveUpdateDevice

/// Sessions that a command opens are detached: they live until `finish` or `rm`, not until the command ends.
extension LiveUpdateDevice {
    func createDetached(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        try createSession(name).detached()
    }

    /// Opens a session that was handed over, even if it was opened since the update.
    func openIncoming(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        do throws(LiveUpdateError) {
            return try retrieveSession(name).detached()
        } catch {
            // EINVAL: the session is retrieved already.
            guard error.errno == .invalidArgument else { throw error }
            return try attachSession(name, .incoming)
        }
    }

    /// Opens a session of the given direction, or of either direction if none is given.
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
    /// Makes this session detached and returns it.
    fileprivate func detached() throws(LiveUpdateError) -> DeviceSession {
        try setDetached(true)
        return self
    }

    /// Makes the session end with its last descriptor, which is the one of this object.
    func letEnd() throws(LiveUpdateError) { try setDetached(false) }
}

extension SessionName: ExpressibleByArgument {
    /// Parses a name in the form in which luoctl shows it: `\xNN` is a byte.
    public init(argument: String) { self.init(described: argument) }
}
