import CShims
import Glibc
public import SystemPackage

/// A system call that waits for somebody's answer: what seccomp_unotify(2) notifies.
public struct CallNotification: Sendable {
    /// What the answer is to name.
    public let id: UInt64
    /// The thread that makes the call; 0 when this process cannot see it.
    public let thread: CInt
    /// As they were given.
    public let arguments: [UInt64]
    /// Which call it is.
    public let call: NotifiedCall

    init(_ raw: cshims_notification) {
        id = raw.id
        thread = CInt(bitPattern: raw.thread)
        let given = raw.arguments
        arguments = [given.0, given.1, given.2, given.3, given.4, given.5]
        var raw = raw
        call = NotifiedCall(rawValue: Int(unsafe cshims_notified_call(&raw))) ?? .other
    }
}

/// A system call that is notified, or another one, also of another architecture.
public enum NotifiedCall: Int, Sendable {
    /// None of these.
    case other = 0
    /// open(2).
    case open
    /// openat(2).
    case openat
    /// openat2(2).
    case openat2
    /// ioctl(2).
    case ioctl
    /// creat(2).
    case creat
}

/// What ``SystemPackage/FileDescriptor/waitForCall(or:)`` waited for.
public enum CallOrMessage: Sendable {
    /// A call to be received.
    case call
    /// Something to be read from the socket, or its end.
    case message
}

/// Where the kernel writes a notification: memory that is all zero, and is more than its struct takes.
@unsafe
public struct NotificationPlace: Sendable {
    /// Bytes that it takes.
    public static let size = 256
    private nonisolated(unsafe) let address: UnsafeMutablePointer<cshims_notification>

    /// Names memory that outlives this.
    public init(_ address: UnsafeMutableRawPointer) {
        unsafe self.address = address.assumingMemoryBound(to: cshims_notification.self)
    }

    /// What is there; nil when it is all zero.
    public var notification: CallNotification? {
        let raw = unsafe address.pointee
        return raw.id == 0 && raw.thread == 0 ? nil : CallNotification(raw)
    }

    /// Makes room for the next.
    public func clear() { unsafe memset(address, 0, Self.size) }

    fileprivate func receive(_ listener: CInt) -> CInt { unsafe cshims_notification_receive(listener, address) }
}

/// The listening end of a seccomp filter that notifies: seccomp_unotify(2). Descriptors are made by
/// ``listenToCalls(matching:)``.
extension FileDescriptor {
    /// Whether this is such a listener: nothing else is to be given to the calls below.
    public var isCallListener: Bool {
        (try? linkTarget("/proc/self/fd/\(rawValue)")) == "anon_inode:seccomp notify"
    }

    /// Waits for a call.
    ///
    /// - Returns: false when nobody is left who could make one.
    /// - Throws: EBADF.
    public func waitForCall() throws(SystemCallError) -> Bool {
        try systemCall("poll") { cshims_notification_wait(rawValue) } == 1
    }

    /// Waits for a call, or for something to be read from a socket.
    ///
    /// - Returns: what came, the socket's first; nil when nobody is left who could call.
    public func waitForCall(or socket: FileDescriptor) -> CallOrMessage? {
        let found = try? systemCall("poll") { cshims_notification_wait_or(rawValue, socket.rawValue) }
        switch found {
        case 2: return .message
        case 1: return .call
        default: return nil
        }
    }

    /// Takes the next one, and lets the kernel write it into memory that may outlive this process: it is taken exactly when it
    /// is there.
    ///
    /// - Throws: ENOENT when whoever made it has gone meanwhile.
    @unsafe
    public func receiveCall(into place: NotificationPlace) throws(SystemCallError) -> CallNotification {
        try systemCall("ioctl") { unsafe place.receive(rawValue) }
        guard let notification = unsafe place.notification else {
            throw SystemCallError("ioctl", .noSuchFileOrDirectory)
        }
        return notification
    }

    /// Answers a call.
    ///
    /// - Throws: ENOENT when whoever made it has gone meanwhile, or somebody has answered it.
    public func answer(_ call: UInt64, _ result: Result<Int64, Errno>) throws(SystemCallError) {
        let (value, error): (Int64, CInt) =
            switch result {
            case .success(let value): (value, 0)
            case .failure(let errno): (0, -errno.rawValue)
            }
        try systemCall("ioctl") { cshims_notification_answer(rawValue, call, value, error) }
    }

    /// Lets the kernel do it.
    ///
    /// - Throws: as ``answer(_:_:)``.
    public func letContinue(_ call: UInt64) throws(SystemCallError) {
        try systemCall("ioctl") { cshims_notification_continue(rawValue, call) }
    }

    /// Whether a call still waits for its answer: then its thread's number still means that thread.
    public func isWaiting(_ call: UInt64) -> Bool {
        cshims_notification_is_valid(rawValue, call) == 0
    }

    /// Gives whoever makes a call a copy of a descriptor.
    ///
    /// - Returns: its number there.
    /// - Throws: ENOENT when it does not wait any more, EMFILE at its limit.
    public func give(
        _ descriptor: FileDescriptor, to call: UInt64, closedOnExec: Bool
    ) throws(SystemCallError) -> CInt {
        try systemCall("ioctl") {
            cshims_notification_give(rawValue, call, descriptor.rawValue, closedOnExec ? 1 : 0)
        }
    }

    /// Whoever waits for calls and whoever makes them wake each other on one processor: which is several times faster where
    /// the kernel has it, since Linux 6.6.
    public func wakeOnOneProcessor() { _ = cshims_notification_wake_here(rawValue) }
}

/// Has this thread, and all that it starts or becomes, tell a listener of the system calls that a filter chooses, for ever.
///
/// - Parameter filter: a BPF program, as libseccomp exports it.
/// - Returns: the listener, closed on exec. While it is open nowhere, those calls fail with ENOSYS.
/// - Throws: EACCES without CAP_SYS_ADMIN or ``denyNewPrivileges()``, EBUSY when somebody listens already, ENOSYS.
public func listenToCalls(matching filter: [UInt8]) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("seccomp") {
        unsafe filter.withUnsafeBytes { unsafe cshims_seccomp_listen($0.baseAddress, $0.count / 8) }
    }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// O_PATH, which is behind _GNU_SOURCE: such a descriptor only names a file.
public let openOnlyPath: CInt = 0o10000000

extension FileDescriptor {
    /// Whether it was opened with ``openOnlyPath``: no call but those that are about names takes it.
    public var isOnlyPath: Bool { cshims_fcntl(rawValue, F_GETFL, 0) & openOnlyPath != 0 }
}

/// The descriptor number that means the working directory: `AT_FDCWD`.
public let workingDirectoryNumber: CInt = -100
