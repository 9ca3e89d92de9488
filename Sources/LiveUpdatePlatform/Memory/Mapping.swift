// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
public import SystemPackage

/// A range of memory that mmap(2) made. It is unmapped at the end of this object's life.
@safe
public struct Mapping: ~Copyable, @unchecked Sendable {
    /// The bytes. They must not be used after the end of the mapping. Reading a hole through a mapping fills the hole.
    @unsafe public let bytes: UnsafeMutableRawBufferPointer

    /// How a mapping relates to the file.
    public enum Kind: Sendable {
        /// Stores reach the file. With `MAP_NORESERVE` the holes of a hugetlb file do not take pages from the pool. If
        /// `reserving` is true, the flag is not set: the kernel reserves the pages for this mapping, and no other
        /// mapping can take them.
        case shared(writable: Bool, reserving: Bool = false)
        /// A private mapping for reading only, which also works for sealed and read-only descriptors. It is not even
        /// writable by us: a writable mapping of a hugetlb file, also a private one, extends a file that is shorter
        /// than the mapping.
        case privateView
    }

    /// Maps a part of a file: mmap(2). The range may reach past the end of the file. An access there causes a SIGBUS.
    ///
    /// - Throws: ENOMEM without address space (or, for hugetlb, without reserved pages), EACCES when the descriptor
    ///   does not allow it, EPERM when a seal forbids it, EINVAL for an offset or a length that the page size forbids.
    public init(
        of descriptor: FileDescriptor, offset: UInt64 = 0, length: UInt64, _ kind: Kind
    ) throws(SystemCallError) {
        let (protection, flags) =
            switch kind {
            case .shared(let writable, let reserving):
                (writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | (reserving ? 0 : MAP_NORESERVE))
            case .privateView: (PROT_READ, MAP_PRIVATE | MAP_NORESERVE)
            }
        guard let length = Int(exactly: length), let offset = off_t(exactly: offset) else {
            throw SystemCallError("mmap", .noMemory)
        }
        let address = try systemCall("mmap") {
            unsafe Int(bitPattern: mmap(nil, length, protection, flags, descriptor.rawValue, offset))
        }
        // SAFETY: mmap returned the start of a range of this length that is used by no other code.
        unsafe bytes = UnsafeMutableRawBufferPointer(
            start: UnsafeMutableRawPointer(bitPattern: address), count: length)
    }

    /// Keeps pages in memory that are touched from now on: mlock2(2), `MLOCK_ONFAULT`. Beyond RLIMIT_MEMLOCK this needs
    /// CAP_IPC_LOCK, which is raised for the call.
    ///
    /// - Throws: ENOMEM or EPERM without the right.
    package borrowing func lockInMemory() throws(SystemCallError) {
        let (start, length) = unsafe (bytes.baseAddress, bytes.count)
        try Capabilities.raising(.lockMemory) { () throws(SystemCallError) in
            _ = try systemCall("mlock2") { unsafe cshims_lock_on_fault(start, length) }
        }
    }

    /// The address of the first byte.
    package var address: UInt64 { UInt64(UInt(bitPattern: unsafe bytes.baseAddress)) }

    // SAFETY: this object alone owns the range, and by the contract of `bytes` no caller uses them after the mapping.
    deinit { unsafe munmap(bytes.baseAddress, bytes.count) }
}
