// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// Sends notifications to the service manager that started this service. They are datagrams to the socket that
/// `NOTIFY_SOCKET` names. Each has lines of `NAME=value`, and may carry descriptors.
///
/// The protocol is that of sd_notify(3), which promises that the protocol does not change. libsystemd is not used,
/// because it is not needed for this, and does not link statically.
///
/// | line | meaning |
/// |---|---|
/// | `READY=1`, `STOPPING=1`, `MAINPID=`, `STATUS=` | the state of the service |
/// | `FDSTORE=1`, `FDNAME=`, `FDPOLL=0` | hold the descriptors of this message, even if the peer of one is closed |
/// | `FDSTOREREMOVE=1`, `FDNAME=` | release them |
/// | `BARRIER=1` | close the descriptor of this message when everything before it was read |
package final class ServiceNotifications: Sendable {
    private let socket: OwnedDescriptor

    /// Connects to the manager; nil when there is no manager. Programs that are started from now on do not find it.
    ///
    /// - Throws: ENOENT, ECONNREFUSED and other errors of connect(2) when the service manager has ended; EINVAL when
    ///   the name in the environment is no socket of the Unix domain, or its path is too long. The caller logs this
    ///   once, and goes on without a manager.
    package static func take() throws(SystemCallError) -> ServiceNotifications? {
        guard let path = takeEnvironmentVariable("NOTIFY_SOCKET"), !path.isEmpty else { return nil }
        return try ServiceNotifications(to: path)
    }

    /// Continues with a socket that is already connected to the manager.
    package init(taking descriptor: FileDescriptor) { socket = OwnedDescriptor(taking: descriptor) }

    /// Connects to a socket. A leading `@` stands for the NUL of an abstract name.
    ///
    /// - Throws: as ``take()``.
    package init(to path: String) throws(SystemCallError) {
        let type = CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
        let made = OwnedDescriptor(
            taking: FileDescriptor(rawValue: try systemCall("socket") { Glibc.socket(AF_UNIX, type, 0) }))
        let number = made.borrowed.rawValue
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard path.hasPrefix("/") || path.hasPrefix("@"), path.utf8.count < room else {
            throw SystemCallError("connect", .invalidArgument)
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            unsafe bytes.copyBytes(from: path.utf8)
            // An abstract name begins with NUL, and has no NUL at its end.
            if path.hasPrefix("@") { unsafe bytes[0] = 0 }
        }
        let length = MemoryLayout<sockaddr_un>.size - room + path.utf8.count + (path.hasPrefix("@") ? 0 : 1)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            // SAFETY: a sockaddr_un may be read as a sockaddr of its family.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                Result { () throws(SystemCallError) in
                    try systemCall("connect") { unsafe Glibc.connect(number, address, socklen_t(length)) }
                }
            }
        }
        _ = try result.get()
        socket = made
    }

    /// The socket. The caller can poll it to learn when the socket has room.
    package var descriptor: FileDescriptor { socket.borrowed }

    /// Sends lines, without ever waiting.
    ///
    /// - Throws: EAGAIN when the manager has not read the earlier messages, ECONNREFUSED when it has ended.
    package func send(_ lines: [String], _ descriptors: [FileDescriptor] = []) throws(SystemCallError) {
        try descriptor.send([UInt8](lines.joined(separator: "\n").utf8), descriptors)
    }

    /// Waits until the socket has room, at most for the given time.
    package func waitForRoom(within milliseconds: CInt) {
        var event = pollfd(fd: descriptor.rawValue, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&event, 1, milliseconds)
    }

    /// Waits until the manager has read everything that was sent, at most for the given time.
    ///
    /// - Returns: whether it has read everything.
    @discardableResult
    package func waitUntilRead(within milliseconds: CInt) -> Bool {
        var ends: [CInt] = [0, 0]
        guard unsafe pipe(&ends) == 0 else { return false }
        let reading = OwnedDescriptor(taking: FileDescriptor(rawValue: ends[0]))
        let writing = FileDescriptor(rawValue: ends[1])
        defer { withExtendedLifetime(reading.borrowed) {} }
        let wasSent = (try? send(["BARRIER=1"], [writing])) != nil
        try? closeDescriptor(writing)
        guard wasSent else { return false }
        var event = pollfd(fd: ends[0], events: 0, revents: 0)
        return unsafe poll(&event, 1, milliseconds) == 1
    }
}
