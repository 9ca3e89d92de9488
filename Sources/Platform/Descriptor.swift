import CShims
import Glibc
public import SystemPackage

/// The one owner of an open file descriptor: closes it when it goes away.
///
/// A descriptor is a number, and a number is easily closed twice; this cannot be copied, so it cannot.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// The descriptor, for calls that only use it. Do not close it; and keep the owner in a variable: what
    /// `openFile(path).borrowed` names is closed before anything can be done with it.
    public let borrowed: FileDescriptor

    /// Takes over a descriptor that nobody else will close.
    public init(taking descriptor: FileDescriptor) { borrowed = descriptor }

    /// Gives the descriptor to the caller, who closes it from now on.
    public consuming func release() -> FileDescriptor {
        let descriptor = borrowed
        discard self
        return descriptor
    }

    deinit { try? closeDescriptor(borrowed) }
}

/// close(2). The descriptor is gone whatever it answers, so it is never tried again; a fault is injected after it.
///
/// - Throws: EBADF when it was not open, EIO and others from the file.
public func closeDescriptor(_ descriptor: FileDescriptor) throws(SystemCallError) {
    let result = Glibc.close(descriptor.rawValue)
    let error = currentErrno()
    let injected = cshims_fault()
    if result == -1 { throw SystemCallError("close", error) }
    if injected != 0 { throw SystemCallError("close", Errno(rawValue: injected)) }
}

extension FileDescriptor {
    /// A second descriptor of the same open file description, closed on exec: fcntl(2), `F_DUPFD_CLOEXEC`.
    ///
    /// - Parameter minimum: the lowest number that it may get.
    /// - Throws: EBADF when this is not open, EMFILE at the limit of RLIMIT_NOFILE.
    public func duplicated(from minimum: CInt = 3) throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("fcntl") { cshims_fcntl(rawValue, F_DUPFD_CLOEXEC, Int(minimum)) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// Sets or clears close-on-exec: fcntl(2), `F_SETFD`.
    ///
    /// - Throws: EBADF when this is not open.
    public func setCloseOnExec(_ on: Bool) throws(SystemCallError) {
        try systemCall("fcntl") { cshims_fcntl(rawValue, F_SETFD, on ? Int(FD_CLOEXEC) : 0) }
    }

    /// Lets no call on it wait: fcntl(2), `O_NONBLOCK`, for all who share its open file description.
    ///
    /// - Throws: EBADF when this is not open.
    public func setNonBlocking() throws(SystemCallError) {
        let flags = try systemCall("fcntl") { cshims_fcntl(rawValue, F_GETFL, 0) }
        try systemCall("fcntl") { cshims_fcntl(rawValue, F_SETFL, Int(flags | O_NONBLOCK)) }
    }

    /// Takes a write lock on the whole file that belongs to the open file description: fcntl(2), `F_OFD_SETLK`. It is
    /// kept over execve(2) and ends with the last descriptor.
    ///
    /// - Throws: EAGAIN when another open file description holds it.
    public func lockForWriting() throws(SystemCallError) {
        try systemCall("fcntl") { cshims_ofd_lock(rawValue) }
    }

    /// Whether both descriptors share one open file description: kcmp(2), `KCMP_FILE`. False when the kernel
    /// does not say.
    public func isSameDescription(as other: FileDescriptor) -> Bool {
        cshims_is_same_description(rawValue, other.rawValue) != 0
    }

    /// Ends the lock of ``lockForWriting()`` for all descriptors of the open file description: fcntl(2), `F_OFD_SETLK`.
    ///
    /// - Throws: EBADF when this is not open.
    public func unlock() throws(SystemCallError) {
        try systemCall("fcntl") { cshims_ofd_unlock(rawValue) }
    }

    /// Takes a write lock on the whole file that belongs to this process: fcntl(2), `F_SETLK`. It ends with it, or when it
    /// closes any descriptor of the file.
    ///
    /// - Throws: EAGAIN when another process holds it.
    public func lockForProcess() throws(SystemCallError) {
        try systemCall("fcntl") { cshims_process_lock(rawValue) }
    }

    /// The process that has taken ``lockForProcess()``: fcntl(2), `F_GETLK`; nil when none has, or one that is not seen from
    /// here.
    ///
    /// - Throws: EBADF when this is not open.
    public func processThatLocks() throws(SystemCallError) -> CInt? {
        var process: pid_t = 0
        try systemCall("fcntl") { unsafe cshims_process_that_locks(rawValue, &process) }
        return process > 0 ? process : nil
    }

    /// Makes a number that is open already lead to this, closed on exec: dup3(2).
    ///
    /// - Throws: EBADF, EBUSY.
    public func copy(to number: FileDescriptor) throws(SystemCallError) {
        try systemCall("dup3") { cshims_copy_to(rawValue, number.rawValue) }
    }

    /// Whether another open file description holds a lock on the file: fcntl(2), `F_OFD_GETLK`, which takes none.
    ///
    /// - Throws: EBADF when this is not open.
    public func isLockedByAnother() throws(SystemCallError) -> Bool {
        var type: CShort = 0
        try systemCall("fcntl") { unsafe cshims_ofd_lock_of_others(rawValue, &type) }
        return type != CShort(F_UNLCK)
    }

    /// The offset of the next read or write: lseek(2). It moves nothing.
    ///
    /// - Throws: EBADF when this is not open, ESPIPE when it has no offset.
    public func position() throws(SystemCallError) -> Int64 {
        try Int64(systemCall("lseek") { Glibc.lseek(rawValue, 0, SEEK_CUR) })
    }

    /// Opens the same file anew, read-only, through /proc/self/fd: an open file description of its own, whose offset
    /// can be moved without disturbing anyone.
    ///
    /// - Throws: EACCES without the right to read the file, EMFILE, ENOENT without /proc.
    public func reopenedForReading() throws(SystemCallError) -> OwnedDescriptor {
        try openFile("/proc/self/fd/\(rawValue)")
    }
}

/// Sets close-on-exec of many descriptors: close_range(2), `CLOSE_RANGE_CLOEXEC`, once for each run of numbers without a
/// gap, as those have that were made one after the other. Where the kernel is older than 5.11 or forbids it, as
/// ``SystemPackage/FileDescriptor/setCloseOnExec(_:)``, one by one.
public func setCloseOnExec(_ descriptors: [FileDescriptor]) {
    for run in runs(of: descriptors.map(\.rawValue).sorted()) {
        do throws(SystemCallError) {
            try systemCall("close_range") {
                cshims_close_range_on_exec(CUnsignedInt(run.first), CUnsignedInt(run.last))
            }
        } catch {
            for number in run.first...run.last { try? FileDescriptor(rawValue: number).setCloseOnExec(true) }
        }
    }
}

/// Numbers without a gap between them.
private func runs(of numbers: [CInt]) -> [(first: CInt, last: CInt)] {
    var runs: [(first: CInt, last: CInt)] = []
    for number in numbers {
        if let last = runs.last?.last, number <= last + 1 {
            runs[runs.count - 1].last = number
        } else {
            runs.append((number, number))
        }
    }
    return runs
}

/// open(2), read-only and closed on exec.
///
/// - Throws: ENOENT, EACCES, EMFILE and what else open(2) lists.
public func openFile(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Opens /dev/null as standard input, output and error where they are closed: else the next file that is opened gets
/// their number, and what is printed ends up in it. For programs, before anything else.
@discardableResult
public func openStandardDescriptors() -> [FileDescriptor] {
    var opened: [FileDescriptor] = []
    for number in STDIN_FILENO...STDERR_FILENO where fcntl(number, F_GETFD) == -1 {
        // The lowest number that is free, which is this one.
        _ = unsafe Glibc.open("/dev/null", O_RDWR)
        opened.append(FileDescriptor(rawValue: number))
    }
    return opened
}

/// The numbers of this process's open descriptors, from /proc/self/fd.
///
/// - Throws: ENOENT without /proc.
public func openDescriptors() throws(SystemCallError) -> [CInt] {
    // The directory itself is open while it is read.
    let numbers = try directoryEntries("/proc/self/fd").compactMap { CInt($0) }
    return numbers.filter { fcntl($0, F_GETFD) != -1 }.sorted()
}
