import Glibc
public import SystemPackage

/// How a service speaks to the service manager that started it: datagrams to the socket that `NOTIFY_SOCKET` names, each with
/// lines of `NAME=value`, and descriptors beside them. The protocol is that of sd_notify(3), which promises that it stays
/// as it is; libsystemd is not needed for it, and does not link statically.
///
/// | line | |
/// |---|---|
/// | `READY=1`, `STOPPING=1`, `MAINPID=`, `STATUS=` | how the service is |
/// | `FDSTORE=1`, `FDNAME=`, `FDPOLL=0` | keeps the descriptors of this message, also when the other end of one is gone |
/// | `FDSTOREREMOVE=1`, `FDNAME=` | lets go of them |
/// | `BARRIER=1` | closes the descriptor of this message when everything before it was read |
public final class ServiceNotifications: Sendable {
    private let socket: OwnedDescriptor

    /// Connects to the manager; nil where there is none. What is started from now on does not find it.
    ///
    /// - Throws: ENOENT, ECONNREFUSED and other errors of connect(2) when the service manager has ended; EINVAL when
    ///   the name in the environment is no socket of the Unix domain, or its path is too long. The caller logs this
    ///   once, and goes on without a manager.
    public static func take() throws(SystemCallError) -> ServiceNotifications? {
        guard let path = takeEnvironmentVariable("NOTIFY_SOCKET"), !path.isEmpty else { return nil }
        return try ServiceNotifications(to: path)
    }

    /// Goes on with a socket that is connected to the manager.
    public init(taking descriptor: FileDescriptor) { socket = OwnedDescriptor(taking: descriptor) }

    /// Connects to a socket. A leading `@` stands for the NUL of an abstract name.
    init(to path: String) throws(SystemCallError) {
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
            // A name that is in no file system begins with NUL, and has no NUL at its end.
            if path.hasPrefix("@") { unsafe bytes[0] = 0 }
        }
        let length = MemoryLayout<sockaddr_un>.size - room + path.utf8.count + (path.hasPrefix("@") ? 0 : 1)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            // SAFETY: a sockaddr_un is what a sockaddr of its family is.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                Result { () throws(SystemCallError) in
                    try systemCall("connect") { unsafe Glibc.connect(number, address, socklen_t(length)) }
                }
            }
        }
        _ = try result.get()
        socket = made
    }

    /// The socket: to be waited for, until it can be written.
    public var descriptor: FileDescriptor { socket.borrowed }

    /// Sends lines, without ever waiting.
    ///
    /// - Throws: EAGAIN when the manager has not read what was sent before, ECONNREFUSED when it is gone.
    public func send(_ lines: [String], _ descriptors: [FileDescriptor] = []) throws(SystemCallError) {
        try descriptor.send([UInt8](lines.joined(separator: "\n").utf8), descriptors)
    }

    /// Waits until more can be sent; or as long as it may.
    public func waitForRoom(within milliseconds: CInt) {
        var event = pollfd(fd: descriptor.rawValue, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&event, 1, milliseconds)
    }

    /// Waits until the manager has read everything that was sent; or as long as it may.
    ///
    /// - Returns: whether it has.
    @discardableResult
    public func waitUntilRead(within milliseconds: CInt) -> Bool {
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
