// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
package import SystemPackage

/// A system call that waits for an answer: a notification of seccomp_unotify(2).
package struct CallNotification: Sendable {
    /// The number of the notification, which an answer must name.
    package let id: UInt64
    /// The thread that makes the call; 0 when this process cannot see it.
    package let thread: CInt
    /// The arguments of the call.
    package let arguments: [UInt64]
    /// The system call.
    package let call: NotifiedCall

    init(_ raw: cshims_notification) {
        id = raw.id
        thread = CInt(bitPattern: raw.thread)
        let given = raw.arguments
        arguments = [given.0, given.1, given.2, given.3, given.4, given.5]
        var raw = raw
        call = NotifiedCall(rawValue: Int(unsafe cshims_notified_call(&raw))) ?? .other
    }
}

/// A system call that the filter can notify.
package enum NotifiedCall: Int, Sendable {
    /// Another call, or a call of another architecture.
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

/// The event that ended ``SystemPackage/FileDescriptor/waitForCall(or:)``.
package enum CallOrMessage: Sendable {
    /// A call can be received.
    case call
    /// The socket has something to read, or has ended.
    case message
}

/// The place where the kernel writes a notification: zeroed memory that is larger than the kernel's struct.
@unsafe
package struct NotificationPlace: Sendable {
    /// The size of the place in bytes.
    package static let size = 256
    private nonisolated(unsafe) let address: UnsafeMutablePointer<cshims_notification>

    /// Uses memory that lives longer than this value.
    package init(_ address: UnsafeMutableRawPointer) {
        unsafe self.address = address.assumingMemoryBound(to: cshims_notification.self)
    }

    /// The notification in the place; nil when the memory is all zero.
    package var notification: CallNotification? {
        let raw = unsafe address.pointee
        return raw.id == 0 && raw.thread == 0 ? nil : CallNotification(raw)
    }

    /// Makes room for the next notification.
    package func clear() { unsafe memset(address, 0, Self.size) }

    fileprivate func receive(_ listener: CInt) -> CInt { unsafe cshims_notification_receive(listener, address) }
}

/// The listener of a seccomp filter that notifies: seccomp_unotify(2). ``listenToCalls(matching:)`` makes it.
extension FileDescriptor {
    /// Whether this is such a listener. The methods below must not be called on other descriptors.
    package var isCallListener: Bool {
        (try? linkTarget("/proc/self/fd/\(rawValue)")) == "anon_inode:seccomp notify"
    }

    /// Waits for a call.
    ///
    /// - Returns: false when no process is left that the filter applies to.
    /// - Throws: EBADF.
    package func waitForCall() throws(SystemCallError) -> Bool {
        try systemCall("poll") { cshims_notification_wait(rawValue) } == 1
    }

    /// Waits for a call, or for something to read from a socket.
    ///
    /// - Returns: the event; that of the socket if there are both. nil when no process is left that the filter applies
    ///   to.
    package func waitForCall(or socket: FileDescriptor) -> CallOrMessage? {
        let found = try? systemCall("poll") { cshims_notification_wait_or(rawValue, socket.rawValue) }
        switch found {
        case 2: return .message
        case 1: return .call
        default: return nil
        }
    }

    /// Receives the next call, and lets the kernel write it into memory that may outlive this process. The call is
    /// received exactly when it is in that memory.
    ///
    /// - Throws: ENOENT when the calling thread has ended or was interrupted meanwhile.
    @unsafe
    package func receiveCall(into place: NotificationPlace) throws(SystemCallError) -> CallNotification {
        try systemCall("ioctl") { unsafe place.receive(rawValue) }
        guard let notification = unsafe place.notification else {
            throw SystemCallError("ioctl", .noSuchFileOrDirectory)
        }
        return notification
    }

    /// Answers a call.
    ///
    /// - Throws: ENOENT when the calling thread has ended or was interrupted meanwhile, or the call was answered
    ///   already.
    package func answer(_ call: UInt64, _ result: Result<Int64, Errno>) throws(SystemCallError) {
        let (value, error): (Int64, CInt) =
            switch result {
            case .success(let value): (value, 0)
            case .failure(let errno): (0, -errno.rawValue)
            }
        try systemCall("ioctl") { cshims_notification_answer(rawValue, call, value, error) }
    }

    /// Lets the kernel make the call.
    ///
    /// - Throws: as ``answer(_:_:)``.
    package func letContinue(_ call: UInt64) throws(SystemCallError) {
        try systemCall("ioctl") { cshims_notification_continue(rawValue, call) }
    }

    /// Whether a call still waits for its answer. Then its thread's number still means that thread.
    package func isWaiting(_ call: UInt64) -> Bool {
        cshims_notification_is_valid(rawValue, call) == 0
    }

    /// Gives the process that makes a call a copy of a descriptor.
    ///
    /// - Returns: the number of the copy in that process.
    /// - Throws: ENOENT when the call does not wait any more, EMFILE at that process's limit.
    package func give(
        _ descriptor: FileDescriptor, to call: UInt64, closedOnExec: Bool
    ) throws(SystemCallError) -> CInt {
        try systemCall("ioctl") {
            cshims_notification_give(rawValue, call, descriptor.rawValue, closedOnExec ? 1 : 0)
        }
    }

    /// Lets the listening thread and the calling threads wake each other on the same processor. That is several times
    /// faster, and needs Linux 6.6.
    package func wakeOnOneProcessor() { _ = cshims_notification_wake_here(rawValue) }
}

/// Makes the kernel notify a listener of the system calls that a filter chooses. This applies to this thread and to all
/// threads and processes that it starts or becomes, and cannot be undone.
///
/// - Parameter filter: a BPF program, as libseccomp exports it.
/// - Returns: the listener, closed on exec. When no process has it open, those calls fail with ENOSYS.
/// - Throws: EACCES without CAP_SYS_ADMIN or ``denyNewPrivileges()``, EBUSY when the thread has a listener already,
///   ENOSYS.
package func listenToCalls(matching filter: [UInt8]) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("seccomp") {
        unsafe filter.withUnsafeBytes { unsafe cshims_seccomp_listen($0.baseAddress, $0.count / 8) }
    }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// O_PATH, which is behind _GNU_SOURCE. Such a descriptor only names a file.
package let openOnlyPath: CInt = 0o10000000

extension FileDescriptor {
    /// Whether the descriptor was opened with ``openOnlyPath``: only calls that work on names accept it.
    package var isOnlyPath: Bool { cshims_fcntl(rawValue, F_GETFL, 0) & openOnlyPath != 0 }
}

/// The descriptor number that means the working directory: `AT_FDCWD`.
package let workingDirectoryNumber: CInt = -100
