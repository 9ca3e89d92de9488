// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
public import SystemPackage

/// The only owner of an open file descriptor. It closes the descriptor at the end of its life.
///
/// A descriptor is a number, and code can easily close a number twice. This type cannot be copied, so its descriptor is
/// closed once.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// The descriptor, for calls that only use it. Do not close it. Keep the owner in a variable: the descriptor of
    /// `openFile(path).borrowed` is closed before it can be used.
    public let borrowed: FileDescriptor

    /// Takes over a descriptor. No other code may close it.
    public init(taking descriptor: FileDescriptor) { borrowed = descriptor }

    /// Allocates the pages of a range of the file, so that no store into them can cause a SIGBUS: fallocate(2).
    ///
    /// - Throws: ENOSPC when the file system, or the pool of huge pages, has too few pages; EPERM when a seal forbids
    ///   it.
    public func allocate(offset: UInt64, length: UInt64) throws(SystemCallError) {
        try borrowed.allocate(offset: offset, length: length)
    }

    /// Gives the descriptor to the caller, which must close it.
    public consuming func release() -> FileDescriptor {
        let descriptor = borrowed
        discard self
        return descriptor
    }

    deinit { try? closeDescriptor(borrowed) }
}

/// Closes a descriptor: close(2). The descriptor is closed even if the call fails, so the call is never repeated. A
/// fault is injected after it.
///
/// - Throws: EBADF when the descriptor was not open, EIO and other errors of the file.
package func closeDescriptor(_ descriptor: FileDescriptor) throws(SystemCallError) {
    let result = Glibc.close(descriptor.rawValue)
    let error = currentErrno()
    let injected = injectedFault()
    if result == -1 { throw SystemCallError("close", error) }
    if injected != 0 { throw SystemCallError("close", Errno(rawValue: injected)) }
}

extension FileDescriptor {
    /// Makes a second descriptor of the same open file description, closed on exec: fcntl(2), `F_DUPFD_CLOEXEC`.
    ///
    /// - Parameter minimum: the lowest number that the new descriptor may get.
    /// - Returns: the new descriptor.
    /// - Throws: EBADF when this is not open, EMFILE at the limit of RLIMIT_NOFILE.
    package func duplicated(from minimum: CInt = 3) throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("fcntl") { cshims_fcntl(rawValue, F_DUPFD_CLOEXEC, Int(minimum)) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// Sets or clears close-on-exec: fcntl(2), `F_SETFD`.
    ///
    /// - Throws: EBADF when this is not open.
    package func setCloseOnExec(_ on: Bool) throws(SystemCallError) {
        try systemCall("fcntl") { cshims_fcntl(rawValue, F_SETFD, on ? Int(FD_CLOEXEC) : 0) }
    }

    /// Ensures that no call on the descriptor waits: fcntl(2), `O_NONBLOCK`. This affects all descriptors of the open
    /// file description.
    ///
    /// - Throws: EBADF when this is not open.
    package func setNonBlocking() throws(SystemCallError) {
        let flags = try systemCall("fcntl") { cshims_fcntl(rawValue, F_GETFL, 0) }
        try systemCall("fcntl") { cshims_fcntl(rawValue, F_SETFL, Int(flags | O_NONBLOCK)) }
    }

    /// Takes a write lock on the whole file: fcntl(2), `F_OFD_SETLK`. The lock belongs to the open file description. It
    /// stays over execve(2), and ends with the last descriptor.
    ///
    /// - Throws: EAGAIN when another open file description holds a lock.
    package func lockForWriting() throws(SystemCallError) {
        try systemCall("fcntl") { cshims_ofd_lock(rawValue) }
    }

    /// Whether both descriptors share one open file description: kcmp(2), `KCMP_FILE`. False when the kernel does not
    /// say.
    package func isSameDescription(as other: FileDescriptor) -> Bool {
        cshims_is_same_description(rawValue, other.rawValue) != 0
    }

    /// Ends the lock of ``lockForWriting()`` for all descriptors of the open file description: fcntl(2), `F_OFD_SETLK`.
    ///
    /// - Throws: EBADF when this is not open.
    package func unlock() throws(SystemCallError) {
        try systemCall("fcntl") { cshims_ofd_unlock(rawValue) }
    }

    /// Takes a write lock on the whole file: fcntl(2), `F_SETLK`. The lock belongs to this process. It ends with the
    /// process, or when the process closes any descriptor of the file.
    ///
    /// - Throws: EAGAIN when another process holds the lock.
    package func lockForProcess() throws(SystemCallError) {
        try systemCall("fcntl") { cshims_process_lock(rawValue) }
    }

    /// The process that holds the lock of ``lockForProcess()``: fcntl(2), `F_GETLK`. It is nil when no process holds
    /// the lock, or the process cannot be seen from here.
    ///
    /// - Throws: EBADF when this is not open.
    package func processThatLocks() throws(SystemCallError) -> CInt? {
        var process: pid_t = 0
        try systemCall("fcntl") { unsafe cshims_process_that_locks(rawValue, &process) }
        return process > 0 ? process : nil
    }

    /// Makes an open number a copy of this descriptor, closed on exec: dup3(2).
    ///
    /// - Throws: EBADF, EBUSY.
    package func copy(to number: FileDescriptor) throws(SystemCallError) {
        try systemCall("dup3") { cshims_copy_to(rawValue, number.rawValue) }
    }

    /// Whether another open file description holds a lock on the file: fcntl(2), `F_OFD_GETLK`, which takes no lock.
    ///
    /// - Throws: EBADF when this is not open.
    package func isLockedByAnother() throws(SystemCallError) -> Bool {
        var type: CShort = 0
        try systemCall("fcntl") { unsafe cshims_ofd_lock_of_others(rawValue, &type) }
        return type != CShort(F_UNLCK)
    }

    /// The offset of the next read or write: lseek(2). This moves nothing.
    ///
    /// - Throws: EBADF when this is not open, ESPIPE when it has no offset.
    package func position() throws(SystemCallError) -> Int64 {
        try Int64(systemCall("lseek") { Glibc.lseek(rawValue, 0, SEEK_CUR) })
    }

    /// Opens the same file again, read-only, through /proc/self/fd. The new open file description has an offset of its
    /// own.
    ///
    /// - Throws: EACCES without the right to read the file, EMFILE, ENOENT without /proc.
    package func reopenedForReading() throws(SystemCallError) -> OwnedDescriptor {
        try openFile("/proc/self/fd/\(rawValue)")
    }
}

/// Sets close-on-exec of many descriptors: close_range(2), `CLOSE_RANGE_CLOEXEC`. It makes one call for each run of
/// consecutive numbers, because descriptors that were made one after the other often have such numbers. If the kernel
/// is older than 5.11 or forbids the call, each descriptor is set with
/// ``SystemPackage/FileDescriptor/setCloseOnExec(_:)``.
package func setCloseOnExec(_ descriptors: [FileDescriptor]) {
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

/// The runs of consecutive numbers.
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

/// Opens a file read-only and closed on exec: open(2).
///
/// - Throws: ENOENT, EACCES, EMFILE and other errors of open(2).
package func openFile(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Opens /dev/null as standard input, output and error where they are closed. Otherwise the next opened file would get
/// such a number, and printed text would end up in it. A program calls this before anything else.
@discardableResult
package func openStandardDescriptors() -> [FileDescriptor] {
    var opened: [FileDescriptor] = []
    for number in STDIN_FILENO...STDERR_FILENO where fcntl(number, F_GETFD) == -1 {
        // open(2) returns the lowest free number, which is this one.
        _ = unsafe Glibc.open("/dev/null", O_RDWR)
        opened.append(FileDescriptor(rawValue: number))
    }
    return opened
}

/// The numbers of this process's open descriptors, from /proc/self/fd.
///
/// - Throws: ENOENT without /proc.
package func openDescriptors() throws(SystemCallError) -> [CInt] {
    // The directory itself is open while it is read.
    let numbers = try directoryEntries("/proc/self/fd").compactMap { CInt($0) }
    return numbers.filter { fcntl($0, F_GETFD) != -1 }.sorted()
}

/// Opens a device, or a file for later writes, for reading and writing, and closed on exec: open(2).
///
/// - Throws: ENOENT, EACCES, EBUSY for a device that can be open only once, and other errors of open(2).
package func openForWriting(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe Glibc.open(path, O_RDWR | O_CLOEXEC) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

extension FileDescriptor {
    /// Makes a call on a device, with a struct that the device reads and writes: ioctl(2).
    ///
    /// - Parameters:
    ///   - command: the number in the device's header.
    ///   - argument: must be as long as the device expects for that command.
    /// - Throws: ENOTTY when the device does not know the command, and the errors of the device.
    package func control(_ command: UInt32, _ argument: inout [UInt8]) throws(SystemCallError) {
        try systemCall("ioctl") {
            // SAFETY: the struct begins with its size, which is that of the array. The device accesses no more bytes.
            unsafe argument.withUnsafeMutableBytes { unsafe cshims_ioctl(rawValue, UInt(command), $0.baseAddress) }
        }
    }
}
