// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
import SystemPackage

/// A thread of another process that waits for us, so that its memory, its descriptors and its user do not change. All
/// access needs the right that ptrace(2) asks for.
package struct OtherThread: Sendable {
    /// The number of the thread.
    package let id: CInt

    /// Identifies a thread by its number.
    package init(_ id: CInt) { self.id = id }

    /// Copies bytes from the thread's memory: process_vm_readv(2).
    ///
    /// - Returns: the bytes; fewer than `count` when the rest cannot be read.
    /// - Throws: EFAULT when nothing can be read, EPERM, ESRCH.
    package func bytes(at address: UInt64, count: Int) throws(SystemCallError) -> [UInt8] {
        var failure: SystemCallError?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, copied in
            do throws(SystemCallError) {
                copied = try systemCall("process_vm_readv") {
                    unsafe cshims_read_memory(id, address, buffer.baseAddress, count)
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// The string at an address, without its NUL: at most 4095 bytes.
    ///
    /// - Throws: EFAULT, ENAMETOOLONG, EPERM, ESRCH.
    package func string(at address: UInt64) throws(SystemCallError) -> [UInt8] {
        var string: [UInt8] = []
        while string.count < 4096 {
            // Most strings are short, and the next page may be unmapped.
            let next = address &+ UInt64(string.count)
            let part = try bytes(at: next, count: min(256, 4096 - string.count))
            if let end = part.firstIndex(of: 0) { return string + part[..<end] }
            string += part
        }
        throw SystemCallError("process_vm_readv", .fileNameTooLong)
    }

    /// Duplicates one of the thread's descriptors into this process: pidfd_open(2) of the thread or, before Linux 6.9,
    /// of its process, and pidfd_getfd(2).
    ///
    /// - Parameters:
    ///   - number: the number of the descriptor in that thread.
    ///   - kept: the handle of the thread that was asked last, which need not be this one. Only handles of threads are
    ///     kept: such a handle never means a later thread with the same number.
    /// - Returns: a descriptor in this process for the same open file description.
    /// - Throws: EBADF when the descriptor is not open, EMFILE at our limit, EPERM, ESRCH.
    package func duplicate(_ number: CInt, keeping kept: KeptHandle) throws(SystemCallError) -> OwnedDescriptor {
        if kept.thread == id, let handle = kept.handle?.borrowed {
            do throws(SystemCallError) {
                return try duplicate(number, of: handle)
            } catch {
                guard error.errno == .noSuchProcess else { throw error }
            }
        }
        do throws(SystemCallError) {
            let opened = try systemCall("pidfd_open") { cshims_pidfd_open_thread(id) }
            kept.handle = OwnedDescriptor(taking: FileDescriptor(rawValue: opened))
            kept.thread = id
            return try duplicate(number, of: FileDescriptor(rawValue: opened))
        } catch {
            guard error.errno == .invalidArgument else { throw error }
        }
        let process = CInt(try statusWords("Tgid:").first ?? "") ?? id
        let opened = try systemCall("pidfd_open") { cshims_pidfd_open(process) }
        let handle = OwnedDescriptor(taking: FileDescriptor(rawValue: opened))
        return try duplicate(number, of: handle.borrowed)
    }

    private func duplicate(_ number: CInt, of handle: FileDescriptor) throws(SystemCallError) -> OwnedDescriptor {
        let copy = try systemCall("pidfd_getfd") { cshims_pidfd_getfd(handle.rawValue, number) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: copy))
    }

    /// The number of the thread's descriptor of a certain socket.
    package func number(ofSocket inode: UInt64) -> CInt? {
        let numbers = (try? descriptorNumbers(of: id)) ?? []
        return numbers.first { (try? linkTarget("/proc/\(id)/fd/\($0)")) == "socket:[\(inode)]" }
    }

    /// The thread's effective user ID, from /proc.
    ///
    /// - Throws: ENOENT when the thread has ended.
    package var user: UInt32 {
        get throws(SystemCallError) {
            let words = try statusWords("Uid:")
            guard words.count == 4, let user = UInt32(words[1]) else { throw SystemCallError("open", .noSuchProcess) }
            return user
        }
    }

    private func statusWords(_ name: String) throws(SystemCallError) -> [Substring] {
        let lines = try readWhole("/proc/\(id)/status").split(separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix(name) }) else { return [] }
        return [Substring](line.split { $0 == " " || $0 == "\t" }.dropFirst())
    }
}

/// A handle of the thread that was asked last. Only one of our threads may use it.
package final class KeptHandle {
    fileprivate var thread: CInt = 0
    fileprivate var handle: OwnedDescriptor?

    /// Holds no handle yet.
    package init() {}
}

/// The system calls with which a process looks into another one, to answer its calls.
package enum ProgramAccess {
    /// Tries the calls on this process, which needs no right.
    ///
    /// - Throws: ENOSYS, with the name of the call, when the kernel lacks it.
    package static func check() throws(SystemCallError) {
        let own = getpid()
        try Self.isThere { () throws(SystemCallError) in _ = try RunningProcess(own).duplicate(STDIN_FILENO) }
        // Nothing can be read at this address.
        try Self.isThere { () throws(SystemCallError) in _ = try OtherThread(own).bytes(at: 0, count: 1) }
    }

    /// Makes a call, and takes every error but ENOSYS for a sign that the kernel has the call.
    private static func isThere(_ call: () throws(SystemCallError) -> Void) throws(SystemCallError) {
        do throws(SystemCallError) {
            try call()
        } catch {
            if error.errno == .noFunction { throw error }
        }
    }
}
