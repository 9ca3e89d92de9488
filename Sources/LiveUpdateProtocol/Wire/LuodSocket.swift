package import Platform
import SystemPackage

/// The sockets of a luod, in its state directory.
package enum LuodSocket {
    /// Connects to a luod. Root and luod's own user have the socket `root`, which no other user can keep from being
    /// served. Other users may not connect to that one, and have the socket `liveupdate`. A luod that its service
    /// manager starts on a connection has only the latter.
    ///
    /// - Parameters:
    ///   - state: the state directory of the luod.
    ///   - milliseconds: the longest wait for room in the queue of the listener; nil waits for ever.
    /// - Throws: ENOENT or ECONNREFUSED when no luod runs there, EACCES when this user may not connect, EMFILE; EAGAIN
    ///   when the wait was too long.
    package static func connect(
        to state: String, within milliseconds: CInt? = nil
    ) throws(SystemCallError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try MessageSocket.connect(to: "\(state)/root", within: milliseconds)
        } catch {
            // A luod that does not accept a connection on this socket accepts none on the other.
            guard error.errno != .resourceTemporarilyUnavailable else { throw error }
        }
        return try MessageSocket.connect(to: "\(state)/liveupdate", within: milliseconds)
    }
}
