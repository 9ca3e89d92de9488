// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import LiveUpdateDevice
import LiveUpdateProtocol

/// Sessions that a command opens are detached: they live until `finish` or `rm`, not until the command ends.
extension LiveUpdateDevice {
    func createDetached(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        try createSession(name).detached()
    }

    /// Opens a session that was handed over, even if it was opened since the update.
    ///
    /// - Parameters:
    ///   - name: the name of the session.
    ///   - user: the user of the session.
    ///   - remedy: the remedy if the user has only an outgoing session of that name.
    /// - Returns: the session, detached.
    /// - Throws: ENOENT when the user has no incoming session of that name; the errors of ``attachSession(_:_:)``.
    func openIncoming(
        _ name: SessionName, of user: UInt32, ifOutgoing remedy: String
    ) throws(LiveUpdateError) -> DeviceSession {
        do throws(LiveUpdateError) {
            return try retrieveSession(name).detached()
        } catch {
            switch error.errno {
            // The session is retrieved already.
            case .invalidArgument: return try attachSession(name, .incoming)
            case .noSuchFileOrDirectory:
                guard let status = try? LuodStatus(of: self), status.session(name, .outgoing, of: user) != nil else {
                    throw error
                }
                throw LiveUpdateError(
                    error.errno, "session \"\(name)\" is outgoing: there was no update since it was made",
                    remedy: remedy)
            default: throw error
            }
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

    /// The names of luod's sessions. Shells expand completions, so names with special characters, which another user
    /// can have chosen, are left out. The command has no colon and no backslash, because zsh interprets both.
    public static var defaultCompletionKind: CompletionKind {
        .shellCommand(
            #"luoctl session list --json --timeout 1 2>/dev/null | awk -F'"' "#
                + #"'/^ *"name"/ && $4 ~ /^[A-Za-z0-9._@%+=,-]+$/ { print $4 }'"#)
    }
}
