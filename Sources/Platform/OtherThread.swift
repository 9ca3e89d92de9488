import CShims
import Glibc
import SystemPackage

/// A thread of another process that waits for us, so that it stays what it is: its memory, its descriptors, its user.
/// All of it takes the right that ptrace(2) asks for.
public struct OtherThread: Sendable {
    /// Its number.
    public let id: CInt

    /// Names it.
    public init(_ id: CInt) { self.id = id }

    /// Copies from its memory: process_vm_readv(2).
    ///
    /// - Returns: fewer bytes when the rest cannot be read.
    /// - Throws: EFAULT when nothing can be read, EPERM, ESRCH.
    public func bytes(at address: UInt64, count: Int) throws(SystemCallError) -> [UInt8] {
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

    /// The string at an address, without its NUL, of at most 4095 bytes.
    ///
    /// - Throws: EFAULT, ENAMETOOLONG, EPERM, ESRCH.
    public func string(at address: UInt64) throws(SystemCallError) -> [UInt8] {
        var string: [UInt8] = []
        while string.count < 4096 {
            // Most are short, and a page need not be followed by another.
            let next = address &+ UInt64(string.count)
            let part = try bytes(at: next, count: min(256, 4096 - string.count))
            if let end = part.firstIndex(of: 0) { return string + part[..<end] }
            string += part
        }
        throw SystemCallError("process_vm_readv", .fileNameTooLong)
    }

    /// A descriptor of ours of the open file description that one of its descriptors has: pidfd_open(2) of the thread or,
    /// before Linux 6.9, of its process, and pidfd_getfd(2).
    ///
    /// - Parameters:
    ///   - number: in that thread.
    ///   - kept: of the thread that was asked for last, whichever it was. Only handles of threads are kept: those never
    ///     mean another one that has the number later.
    /// - Throws: EBADF when that is not open, EMFILE at our limit, EPERM, ESRCH.
    public func duplicate(_ number: CInt, keeping kept: KeptHandle) throws(SystemCallError) -> OwnedDescriptor {
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

    /// Which of its descriptors is a certain socket.
    public func number(ofSocket inode: UInt64) -> CInt? {
        let numbers = (try? descriptorNumbers(of: id)) ?? []
        return numbers.first { (try? linkTarget("/proc/\(id)/fd/\($0)")) == "socket:[\(inode)]" }
    }

    /// Its effective user, by the kernel.
    ///
    /// - Throws: ENOENT when it has ended.
    public var user: UInt32 {
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

/// A handle of the thread that was asked for last. For one thread of ours.
public final class KeptHandle {
    fileprivate var thread: CInt = 0
    fileprivate var handle: OwnedDescriptor?

    /// Of none.
    public init() {}
}
