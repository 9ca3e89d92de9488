// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
import SystemPackage

/// The sockets of a luod, in its state directory.
package enum LuodSocket {
    /// Connects to a luod. Root and luod's own user use the socket `root`, so that no other user can prevent their
    /// service. Other users may not connect to it, and use the socket `liveupdate`. A luod that its service manager
    /// starts on a connection has only the socket `liveupdate`.
    ///
    /// - Parameters:
    ///   - state: the state directory of the luod.
    ///   - milliseconds: the longest wait for room in the listener's queue; nil: no limit.
    /// - Returns: the connected socket.
    /// - Throws: ENOENT or ECONNREFUSED when no luod runs there, EACCES when this user may not connect, EMFILE; EAGAIN
    ///   when the wait was too long.
    package static func connect(
        to state: String, within milliseconds: CInt? = nil
    ) throws(SystemCallError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try MessageSocket.connect(to: "\(state)/root", within: milliseconds)
        } catch {
            // If luod accepts no connection on this socket, it accepts none on the other one.
            guard error.errno != .resourceTemporarilyUnavailable else { throw error }
        }
        return try MessageSocket.connect(to: "\(state)/liveupdate", within: milliseconds)
    }
}
