// SPDX-License-Identifier: Apache-2.0
import Glibc
public import LiveUpdateCore

// The system calls of these handlers. All use `systemCall`, so that tests can make each of them fail.

/// Opens a listening socket, closed on exec: socket(2), bind(2), listen(2).
///
/// - Throws: EADDRINUSE and other errors of these three calls.
public func listen(
    at address: SocketAddress, backlog: UInt32, _ options: ListenerOptions = []
) throws(SystemCallError) -> OwnedDescriptor {
    let made = try makeSocket(address.family, nonBlocking: options.contains(.nonBlocking))
    if options.contains(.reuseAddress) { try made.borrowed.setOption(SO_REUSEADDR) }
    try systemCall("bind") { unsafe address.withPointer { unsafe bind(made.borrowed.rawValue, $0, $1) } }
    try made.borrowed.listen(backlog: backlog)
    return made
}

/// Connects to a listening socket: connect(2).
///
/// - Throws: ECONNREFUSED when no process listens there, ENOENT when no file has that name; with `nonBlocking`, EAGAIN
///   or EINPROGRESS when it would have to wait.
public func connect(
    to address: SocketAddress, nonBlocking: Bool = false
) throws(SystemCallError) -> OwnedDescriptor {
    let made = try makeSocket(address.family, nonBlocking: nonBlocking)
    try systemCall("connect") { unsafe address.withPointer { unsafe connect(made.borrowed.rawValue, $0, $1) } }
    return made
}

/// Whether a socket listens at an address. This connects a socket of another type, which a listener refuses (unix(7)),
/// and so takes no place in its queue.
///
/// - Throws: ENOENT when no file has that name, EACCES.
func isListening(at address: SocketAddress) throws(SystemCallError) -> Bool {
    let made = try makeSocket(address.family, SOCK_DGRAM)
    do throws(SystemCallError) {
        try systemCall("connect") { unsafe address.withPointer { unsafe connect(made.borrowed.rawValue, $0, $1) } }
        return true
    } catch {
        switch error.errno {
        case .connectionRefused: return false
        case .protocolWrongTypeForSocket: return true
        default: throw error
        }
    }
}

/// Reads a file that contains one number: open(2), read(2).
///
/// - Throws: the errors of these calls, EINVAL when the file does not contain a number.
func readNumber(_ path: String) throws(SystemCallError) -> UInt64 {
    let number = try systemCall("open") { unsafe open(path, O_RDONLY | O_CLOEXEC) }
    let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = try systemCall("read") { unsafe read(file.borrowed.rawValue, &bytes, bytes.count) }
    guard let value = UInt64(String(decoding: bytes.prefix(count), as: UTF8.self).prefix { $0.isNumber }) else {
        throw SystemCallError("read", .invalidArgument)
    }
    return value
}

private func makeSocket(
    _ family: CInt, _ kind: __socket_type = SOCK_STREAM, nonBlocking: Bool = false
) throws(SystemCallError) -> OwnedDescriptor {
    var type = kind.rawValue | SOCK_CLOEXEC.rawValue
    if nonBlocking { type |= SOCK_NONBLOCK.rawValue }
    let number = try systemCall("socket") { socket(family, CInt(type), 0) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

extension FileDescriptor {
    /// The address that the socket is bound to: getsockname(2).
    ///
    /// - Throws: EBADF, ENOTSOCK.
    public func socketAddress() throws(SystemCallError) -> SocketAddress {
        var bytes = [UInt8](repeating: 0, count: 128)
        var length = socklen_t(bytes.count)
        try systemCall("getsockname") {
            // SAFETY: the kernel writes no more than `length` bytes, and reports how many the address has.
            unsafe bytes.withUnsafeMutableBytes {
                unsafe getsockname(rawValue, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
            }
        }
        return SocketAddress(bytes: Array(bytes.prefix(Int(length))))
    }

    /// Accepts the next client, or waits for one: accept(2). The new descriptor is closed on exec.
    ///
    /// - Throws: EAGAIN when no client waits and the socket is non-blocking, EMFILE.
    public func acceptClient() throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("accept") { accept(rawValue, nil, nil) }
        let client = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        try systemCall("fcntl") { fcntl(number, F_SETFD, FD_CLOEXEC) }
        return client
    }

    /// Whether a client waits to be accepted: poll(2).
    var hasClient: Bool {
        var event = pollfd(fd: rawValue, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&event, 1, 0) == 1
    }

    /// Makes the socket listen: listen(2). For a listening socket this only changes how many clients may wait.
    func listen(backlog: UInt32) throws(SystemCallError) {
        try systemCall("listen") { Glibc.listen(rawValue, CInt(clamping: backlog)) }
    }

    /// The value of an option of socket(7): getsockopt(2).
    ///
    /// - Throws: EBADF, ENOTSOCK.
    func option(_ name: CInt) throws(SystemCallError) -> CInt {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        try systemCall("getsockopt") { unsafe getsockopt(rawValue, SOL_SOCKET, name, &value, &length) }
        return value
    }

    fileprivate func setOption(_ name: CInt) throws(SystemCallError) {
        var on: CInt = 1
        try systemCall("setsockopt") {
            unsafe setsockopt(rawValue, SOL_SOCKET, name, &on, socklen_t(MemoryLayout<CInt>.size))
        }
    }

    /// The options of this socket.
    func listenerOptions() throws(SystemCallError) -> ListenerOptions {
        var options: ListenerOptions = []
        if try option(SO_REUSEADDR) != 0 { options.insert(.reuseAddress) }
        let flags = try systemCall("fcntl") { fcntl(rawValue, F_GETFL) }
        if flags & O_NONBLOCK != 0 { options.insert(.nonBlocking) }
        return options
    }
}

extension SocketAddress {
    @unsafe
    fileprivate func withPointer<Value>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Value) -> Value {
        // SAFETY: an array's bytes are aligned for any struct, and `body` gets their number.
        unsafe bytes.withUnsafeBytes {
            unsafe body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }
}
