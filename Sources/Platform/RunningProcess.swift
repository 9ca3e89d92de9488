import CShims
import Glibc
public import SystemPackage

/// A process, held by a descriptor of it, so that its number cannot come to mean another one: pidfd_open(2). Looking at
/// it neither stops nor changes it.
public struct RunningProcess: ~Copyable {
    /// Its number.
    public let id: CInt
    private let handle: OwnedDescriptor

    /// Finds a process.
    ///
    /// - Throws: ESRCH when there is none of that number, EINVAL or ENOENT for the number of a thread that is not its
    ///   process's first, ENOSYS before Linux 5.3.
    public init(_ id: CInt) throws(SystemCallError) {
        let number = try systemCall("pidfd_open") { cshims_pidfd_open(id) }
        self.id = id
        handle = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// A descriptor of ours of the open file description that one of its descriptors has: pidfd_getfd(2).
    ///
    /// - Throws: EBADF when that is not open (any more), EPERM without the right that ptrace(2) asks for
    ///   (PTRACE_MODE_ATTACH_REALCREDS), ESRCH when it has ended, ENOSYS before Linux 5.6, EMFILE.
    public func duplicate(_ number: CInt) throws(SystemCallError) -> OwnedDescriptor {
        let handle = handle.borrowed.rawValue
        let copy = try systemCall("pidfd_getfd") { cshims_pidfd_getfd(handle, number) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: copy))
    }

    /// Finds a process by a descriptor of it that somebody else opened.
    public init(_ id: CInt, handle: consuming OwnedDescriptor) {
        self.id = id
        self.handle = handle
    }

    /// The descriptor: readable once it has ended.
    public var descriptor: FileDescriptor { handle.borrowed }

    /// Ends it at once: pidfd_send_signal(2). Nothing happens when it has ended.
    public func kill() { _ = cshims_pidfd_send_signal(handle.borrowed.rawValue, SIGKILL) }

    /// Waits for its end: poll(2).
    ///
    /// - Parameter milliseconds: -1 waits for ever.
    /// - Returns: whether it has ended.
    @discardableResult
    public func waitForEnd(_ milliseconds: CInt = -1) -> Bool {
        var event = pollfd(fd: handle.borrowed.rawValue, events: Int16(POLLIN), revents: 0)
        while true {
            let ready = unsafe poll(&event, 1, milliseconds)
            if ready == -1, errno == EINTR { continue }
            return ready > 0
        }
    }

    /// Whether it has ended, also when nobody has waited for it yet: poll(2) of a pidfd.
    public var hasEnded: Bool {
        var event = pollfd(fd: handle.borrowed.rawValue, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&event, 1, 0) > 0
    }

    /// The numbers of its open descriptors, rising, from /proc/PID/fd.
    ///
    /// - Throws: EACCES without the right to look at it, ENOENT when it has ended.
    public var descriptors: [CInt] { get throws(SystemCallError) { try descriptorNumbers(of: id) } }

    /// The name of its program, as /proc/PID/comm has it: at most 15 bytes.
    public var command: String { commandName(of: id) }
}

/// The numbers of all processes that /proc shows.
///
/// - Throws: ENOENT without /proc.
func processNumbers() throws(SystemCallError) -> [CInt] {
    try directoryEntries("/proc").compactMap { CInt($0) }.sorted()
}

/// The numbers of a process's open descriptors.
///
/// - Throws: as ``RunningProcess/descriptors``.
func descriptorNumbers(of process: CInt) throws(SystemCallError) -> [CInt] {
    try directoryEntries("/proc/\(process)/fd").compactMap { CInt($0) }.sorted()
}

func commandName(of process: CInt) -> String {
    ((try? readWhole("/proc/\(process)/comm")) ?? "").split(separator: "\n").first.map(String.init) ?? ""
}
