import CShims
import Glibc
public import SystemPackage

/// A range of memory that mmap(2) made: unmapped when it goes away.
@safe
public struct Mapping: ~Copyable, @unchecked Sendable {
    /// The bytes. They must not be used after the mapping is gone; reading a hole through a mapping fills it.
    @unsafe public let bytes: UnsafeMutableRawBufferPointer

    /// How a mapping relates to the file.
    public enum Kind: Sendable {
        /// Stores reach the file. `MAP_NORESERVE`, so that the holes of a hugetlb file do not take pages from the pool;
        /// unless it is `reserving`: then what is to be filled is promised, and nobody else can take it.
        case shared(writable: Bool, reserving: Bool = false)
        /// For looking only, and private: what works for sealed and read-only descriptors, too. Not even writable for
        /// us: a writable mapping of a hugetlb file, also a private one, makes a file that is shorter as long as it is.
        case privateView
    }

    /// mmap(2) of a part of a file. The range may reach past its end; touching it there is a SIGBUS.
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
        // SAFETY: mmap answered with the start of a range of this length that nobody else has.
        unsafe bytes = UnsafeMutableRawBufferPointer(
            start: UnsafeMutableRawPointer(bitPattern: address), count: length)
    }

    /// Keeps pages that are touched from now on in memory: mlock2(2), `MLOCK_ONFAULT`. Beyond RLIMIT_MEMLOCK it takes
    /// CAP_IPC_LOCK, which is raised for it.
    ///
    /// - Throws: ENOMEM or EPERM without the right.
    public borrowing func lockInMemory() throws(SystemCallError) {
        let (start, length) = unsafe (bytes.baseAddress, bytes.count)
        try Capabilities.raising(.lockMemory) { () throws(SystemCallError) in
            _ = try systemCall("mlock2") { unsafe cshims_lock_on_fault(start, length) }
        }
    }

    /// The address of the first byte.
    public var address: UInt64 { UInt64(UInt(bitPattern: unsafe bytes.baseAddress)) }

    // SAFETY: the range is ours alone, and nothing can hold `bytes` longer than the mapping by its contract.
    deinit { unsafe munmap(bytes.baseAddress, bytes.count) }
}
