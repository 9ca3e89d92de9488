import Glibc
public import LiveUpdate

// The system calls of these handlers: through `systemCall`, so that tests can fail each of them.

/// Opens a socket that listens: socket(2), bind(2), listen(2). It is closed on exec.
///
/// - Throws: EADDRINUSE and what else those three list.
public func listen(
    at address: SocketAddress, backlog: UInt32, _ options: ListenerOptions = []
) throws(SystemCallError) -> OwnedDescriptor {
    let made = try makeSocket(address.family, nonBlocking: options.contains(.nonBlocking))
    if options.contains(.reuseAddress) { try made.borrowed.setOption(SO_REUSEADDR) }
    try systemCall("bind") { unsafe address.withPointer { unsafe bind(made.borrowed.rawValue, $0, $1) } }
    try made.borrowed.listen(backlog: backlog)
    return made
}

/// Connects to a socket that listens: connect(2).
///
/// - Throws: ECONNREFUSED when nobody listens there, ENOENT when nothing has that name; with `nonBlocking`, EAGAIN or
///   EINPROGRESS when it would have to wait.
public func connect(
    to address: SocketAddress, nonBlocking: Bool = false
) throws(SystemCallError) -> OwnedDescriptor {
    let made = try makeSocket(address.family, nonBlocking: nonBlocking)
    try systemCall("connect") { unsafe address.withPointer { unsafe connect(made.borrowed.rawValue, $0, $1) } }
    return made
}

/// Whether a socket listens at an address. Asked with a socket of another type, which it refuses (unix(7)): so none of the
/// places in its queue is taken.
///
/// - Throws: ENOENT when nothing has that name, EACCES.
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

private func makeSocket(
    _ family: CInt, _ kind: __socket_type = SOCK_STREAM, nonBlocking: Bool = false
) throws(SystemCallError) -> OwnedDescriptor {
    var type = kind.rawValue | SOCK_CLOEXEC.rawValue
    if nonBlocking { type |= SOCK_NONBLOCK.rawValue }
    let number = try systemCall("socket") { socket(family, CInt(type), 0) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

extension FileDescriptor {
    /// Where a socket is bound: getsockname(2).
    ///
    /// - Throws: EBADF, ENOTSOCK.
    public func socketAddress() throws(SystemCallError) -> SocketAddress {
        var bytes = [UInt8](repeating: 0, count: 128)
        var length = socklen_t(bytes.count)
        try systemCall("getsockname") {
            // SAFETY: the kernel writes no more than `length` bytes, and says how many the address has.
            unsafe bytes.withUnsafeMutableBytes {
                unsafe getsockname(rawValue, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
            }
        }
        return SocketAddress(bytes: Array(bytes.prefix(Int(length))))
    }

    /// Takes the next client out of the queue, or waits for one: accept(2). It is closed on exec.
    ///
    /// - Throws: EAGAIN when nobody waits and the socket is non-blocking, EMFILE.
    public func acceptClient() throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("accept") { accept(rawValue, nil, nil) }
        let client = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        try client.borrowed.setCloseOnExec(true)
        return client
    }

    /// Whether a client waits to be accepted: poll(2).
    var hasClient: Bool {
        var event = pollfd(fd: rawValue, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&event, 1, 0) == 1
    }

    /// listen(2). On a socket that listens it only changes how many clients may wait.
    func listen(backlog: UInt32) throws(SystemCallError) {
        try systemCall("listen") { Glibc.listen(rawValue, CInt(clamping: backlog)) }
    }

    /// A number of socket(7): getsockopt(2).
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

    /// What ``ListenerOptions`` are set.
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
        // SAFETY: an array's bytes are aligned for any struct, and callers get their number.
        unsafe bytes.withUnsafeBytes {
            unsafe body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }
}
