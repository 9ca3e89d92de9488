// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
package import SystemPackage

/// A process, identified by a descriptor, so that its number cannot come to mean another process: pidfd_open(2). The
/// descriptor neither stops nor changes the process.
package struct RunningProcess: ~Copyable {
    /// Its number.
    package let id: CInt
    private let handle: OwnedDescriptor

    /// Finds a process.
    ///
    /// - Throws: ESRCH when no process has that number, EINVAL or ENOENT when the number is that of a thread other than
    ///   the first of its process, ENOSYS before Linux 5.3.
    package init(_ id: CInt) throws(SystemCallError) {
        let number = try systemCall("pidfd_open") { cshims_pidfd_open(id) }
        self.id = id
        handle = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// A descriptor in this process for the open file description of one of the other process's descriptors:
    /// pidfd_getfd(2).
    ///
    /// - Throws: EBADF when the descriptor is not open (any more), EPERM without the right that ptrace(2) asks for
    ///   (PTRACE_MODE_ATTACH_REALCREDS), ESRCH when the process has ended, ENOSYS before Linux 5.6, EMFILE.
    package func duplicate(_ number: CInt) throws(SystemCallError) -> OwnedDescriptor {
        let handle = handle.borrowed.rawValue
        let copy = try systemCall("pidfd_getfd") { cshims_pidfd_getfd(handle, number) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: copy))
    }

    /// Identifies a process by a descriptor that another process opened.
    package init(_ id: CInt, handle: consuming OwnedDescriptor) {
        self.id = id
        self.handle = handle
    }

    /// The descriptor, which is readable once all threads of the process have ended. ``hasEnded`` can be true before
    /// that.
    package var descriptor: FileDescriptor { handle.borrowed }

    /// Kills the process: pidfd_send_signal(2), SIGKILL. Nothing happens if it has ended.
    package func kill() { _ = cshims_pidfd_send_signal(handle.borrowed.rawValue, SIGKILL) }

    /// Waits until the process has ended, as ``hasEnded`` says.
    ///
    /// - Parameter milliseconds: the longest wait; -1 waits for ever.
    /// - Returns: whether it has ended.
    @discardableResult
    package func waitForEnd(_ milliseconds: CInt = -1) -> Bool {
        let start = monotonicNanoseconds()
        // The handle shows most ends at once. Only /proc shows the others: this looks there less often the longer it
        // waits.
        var pause: CInt = 1
        while true {
            if hasEnded { return true }
            let passed = (monotonicNanoseconds() - start) / 1_000_000
            guard milliseconds < 0 || passed < UInt64(milliseconds) else { return false }
            let left = milliseconds < 0 ? pause : min(pause, milliseconds - CInt(clamping: passed))
            if isHandleReadable(within: left) { return true }
            pause = min(pause * 2, 100)
        }
    }

    /// Whether the process has ended: none of its threads runs its program any more.
    ///
    /// This can be true before the handle is readable: a killed thread may wait in the kernel for an event that does
    /// not come, such as an answer of a file system's server. Then the first thread is a zombie or about to become one,
    /// and each other thread has ended or waits where no signal wakes it. Only /proc shows that.
    package var hasEnded: Bool {
        if isHandleReadable(within: 0) { return true }
        // The state of the first thread is usually enough to see that the process still runs.
        guard let number = numberInHandle, ThreadState(first: number)?.isGone == true,
            let threads = ThreadState.all(of: number)
        else { return false }
        return ThreadState.isEnded(threads, of: number)
    }

    /// The process's number, from the handle; nil when the process was reaped, so that the number is free.
    private var numberInHandle: CInt? {
        processNumber(inHandle: handle.borrowed)
    }

    private func isHandleReadable(within milliseconds: CInt) -> Bool {
        var event = pollfd(fd: handle.borrowed.rawValue, events: Int16(POLLIN), revents: 0)
        // A program that has closed the handle learns nothing: POLLNVAL.
        return unsafe poll(&event, 1, milliseconds) > 0 && event.revents & Int16(POLLIN) != 0
    }

    /// The numbers of the process's open descriptors, in ascending order, from /proc/PID/fd.
    ///
    /// - Throws: EACCES without the right to look at the process, ENOENT when it has ended.
    package var descriptors: [CInt] { get throws(SystemCallError) { try descriptorNumbers(of: id) } }

    /// The name of the process's program, as in /proc/PID/comm: at most 15 bytes.
    package var command: String { commandName(of: id) }
}

/// The number of the process that a handle (pidfd_open(2)) refers to, from /proc/self/fdinfo. Nil when the process was
/// reaped, so that the number is free, and when the descriptor is no such handle.
package func processNumber(inHandle handle: FileDescriptor) -> CInt? {
    let text = try? readWhole("/proc/self/fdinfo/\(handle.rawValue)")
    let line = text?.split(separator: "\n").first { $0.hasPrefix("Pid:") }
    guard let words = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }), words.count == 2 else { return nil }
    return CInt(words[1]).flatMap { $0 > 0 ? $0 : nil }
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

/// The bytes of the name of a process's program, as in /proc/PID/comm: at most 15. They need not be UTF-8. Empty when
/// the process has ended or is not visible.
package func commandBytes(of process: CInt) -> [UInt8] {
    var bytes = (try? readBytes("/proc/\(process)/comm")) ?? []
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    return bytes
}

func commandName(of process: CInt) -> String {
    ((try? readWhole("/proc/\(process)/comm")) ?? "").split(separator: "\n").first.map(String.init) ?? ""
}

/// The state of a thread, from /proc/PID/task/TID/stat.
struct ThreadState: Equatable {
    /// The thread's number.
    var id: CInt
    /// Running, sleeping, and so on: proc_pid_stat(5).
    var letter: Character
    /// Whether the thread has begun to end: it never returns to its program.
    var isExiting: Bool

    /// `PF_EXITING`
    private static let exiting: UInt64 = 4

    /// Parses a line of that file; nil when the line has another form. The name of the program in the line may contain
    /// spaces and parentheses, and characters that would join a parenthesis. So this looks at bytes.
    init?(_ line: String) {
        let bytes = line.utf8
        guard let open = bytes.firstIndex(of: UInt8(ascii: "(")), let close = bytes.lastIndex(of: UInt8(ascii: ")")),
            open < close, let id = CInt(line[..<open].filter { $0 != " " })
        else { return nil }
        let words = line[bytes.index(after: close)...].split(separator: " ")
        guard words.count > 6, let letter = words[0].first, let flags = UInt64(words[6]) else { return nil }
        self.id = id
        self.letter = letter
        isExiting = flags & Self.exiting != 0
    }

    /// The first thread of a process; nil when /proc has no process of that number.
    init?(first process: CInt) {
        guard let line = try? readWhole("/proc/\(process)/stat") else { return nil }
        self.init(line)
    }

    fileprivate var isGone: Bool { letter == "Z" || letter == "X" || isExiting }

    /// Whether the process with these threads has ended: the first thread has ended, and no other thread can run the
    /// program.
    static func isEnded(_ threads: [ThreadState], of process: CInt) -> Bool {
        guard let first = threads.first(where: { $0.id == process }) else { return false }
        // In our programs the end of the first thread kills the others. A sleeping thread wakes up and ends. A thread
        // in state D ends before it returns to the program.
        return first.isGone && threads.allSatisfy { $0.isGone || $0.letter == "D" }
    }

    /// The threads of a process; nil when there is no process with that number.
    static func all(of process: CInt) -> [ThreadState]? {
        guard let names = try? directoryEntries("/proc/\(process)/task") else { return nil }
        let threads = names.filter { $0.first?.isNumber == true }
        // A thread that has no file any more has ended since the directory was read.
        return threads.compactMap { name in
            (try? readWhole("/proc/\(process)/task/\(name)/stat")).flatMap { ThreadState($0) }
        }
    }
}

/// How a child of this process has ended: the status of waitpid(2).
package struct ExitStatus: Equatable, Sendable, CustomStringConvertible {
    /// The signal that ended the child; nil when it exited.
    package let signal: CInt?
    /// The exit code; 0 after a signal.
    package let code: CInt

    /// Decodes the status of waitpid(2).
    package init(status: CInt) {
        let number = status & 0x7F
        signal = number == 0 ? nil : number
        code = number == 0 ? (status >> 8) & 0xFF : 0
    }

    package var description: String { signal.map { "signal \($0)" } ?? "exit code \(code)" }
}

/// Children that have ended and cannot be reaped yet, because one of their threads waits in the kernel: waitpid(2)
/// would wait as long. They stay zombies until ``reap()`` can reap them.
package struct UnreapedChildren: Sendable {
    /// Their numbers.
    package private(set) var processes: [CInt] = []

    /// The children with these numbers, or none.
    package init(_ processes: [CInt] = []) { self.processes = processes }

    /// Reaps a child that has ended, without waiting: waitpid(2) with WNOHANG. A child that cannot be reaped yet is
    /// noted.
    ///
    /// - Returns: how the child ended; nil when it cannot be reaped yet, or is no child of this process.
    package mutating func reap(_ process: CInt) -> ExitStatus? {
        switch Self.wait(for: process) {
        case .ended(let status): return status
        case .notYet: if !processes.contains(process) { processes.append(process) }
        case .noChild: break
        }
        return nil
    }

    /// Reaps the noted children that have become reapable. Call this from time to time.
    package mutating func reap() {
        processes.removeAll { process in
            if case .notYet = Self.wait(for: process) { false } else { true }
        }
    }

    private enum Answer {
        case ended(ExitStatus)
        case notYet
        case noChild
    }

    private static func wait(for process: CInt) -> Answer {
        while true {
            var status: CInt = 0
            let found = unsafe waitpid(process, &status, WNOHANG)
            if found == process { return .ended(ExitStatus(status: status)) }
            if found == 0 { return .notYet }
            if errno != EINTR { return .noChild }
        }
    }
}
