import CShims
import Glibc
public import SystemPackage

/// Starts a detached thread: pthread_create(3).
///
/// - Parameters:
///   - stackSize: in bytes; at least PTHREAD_STACK_MIN.
///   - blockingSignals: whether the thread blocks all signals; otherwise it blocks those of the calling thread.
///   - body: runs on the thread, which ends with it.
/// - Throws: EAGAIN when there are too many threads, EINVAL for too small a stack.
public func startThread(
    stackSize: Int = 512 << 10, blockingSignals: Bool = false, _ body: @escaping @Sendable () -> Void
) throws(SystemCallError) {
    guard blockingSignals else { return try create(stackSize, body) }
    // A thread inherits the mask, so that no signal reaches it before it runs.
    var (all, own) = (sigset_t(), sigset_t())
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &own)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &own, nil) }
    try create(stackSize, body)
}

private func create(_ stackSize: Int, _ body: @escaping @Sendable () -> Void) throws(SystemCallError) {
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setdetachstate(&attributes, CInt(PTHREAD_CREATE_DETACHED))
    unsafe pthread_attr_setstacksize(&attributes, stackSize)
    let box = unsafe Unmanaged.passRetained(ThreadBody(body)).toOpaque()
    var thread = pthread_t()
    let result = unsafe pthread_create(
        &thread, &attributes,
        { box in
            guard let box = unsafe box else { return nil }
            unsafe Unmanaged<ThreadBody>.fromOpaque(box).takeRetainedValue().run()
            return nil
        }, box)
    guard result != 0 else { return }
    unsafe Unmanaged<ThreadBody>.fromOpaque(box).release()
    throw SystemCallError("pthread_create", Errno(rawValue: result))
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

extension FileDescriptor {
    /// Switches SO_LINGER of socket(7) off if it has a time, so that a close does not wait for the peer. Other descriptors
    /// than sockets stay as they are.
    public func stopLingering() {
        var now = linger()
        var size = socklen_t(MemoryLayout<linger>.size)
        let result = unsafe getsockopt(rawValue, SOL_SOCKET, SO_LINGER, &now, &size)
        guard result == 0, now.l_onoff != 0, now.l_linger != 0 else { return }
        var off = linger(l_onoff: 0, l_linger: 0)
        _ = unsafe setsockopt(rawValue, SOL_SOCKET, SO_LINGER, &off, size)
    }

    /// Whether something that was sent on a socket has not been read: `SIOCOUTQ` of unix(7).
    public var hasUnread: Bool { cshims_unread(rawValue) > 0 }

    /// Whether this is a socket of ``MessageSocket``'s kind.
    public var isMessageSocket: Bool { cshims_is_message_socket(rawValue) != 0 }

    /// The name to which the socket is bound, in the Unix domain: getsockname(2). Empty for a socket without a name, nil for a
    /// descriptor that is no such socket.
    public var ownName: [UInt8]? { socketName(ofPeer: false) }

    /// The name to which the peer of the socket is bound: getpeername(2).
    public var peerName: [UInt8]? { socketName(ofPeer: true) }

    private func socketName(ofPeer: Bool) -> [UInt8]? {
        // The path of a sockaddr_un has at most 108 bytes.
        var name = [UInt8](repeating: 0, count: 108)
        let count = unsafe cshims_socket_name(rawValue, ofPeer ? 1 : 0, &name, name.count)
        return count < 0 ? nil : [UInt8](name.prefix(count))
    }

    /// Whether both descriptors share one open file description: kcmp(2), `KCMP_FILE`. False where the kernel does not say.
    public func isSameDescription(as other: FileDescriptor) -> Bool {
        cshims_is_same_description(rawValue, other.rawValue) != 0
    }

    /// What tells a socket from all others for as long as the kernel runs: `SO_COOKIE` of socket(7).
    ///
    /// - Throws: ENOTSOCK, EBADF.
    public func socketCookie() throws(SystemCallError) -> UInt64 {
        var cookie: UInt64 = 0
        try systemCall("getsockopt") { unsafe cshims_socket_cookie(rawValue, &cookie) }
        return cookie
    }
}
