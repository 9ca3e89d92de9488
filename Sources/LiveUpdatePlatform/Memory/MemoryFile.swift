// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
package import SystemPackage

/// The size of a page in bytes, a power of two. The kernel calls the pool of a huge page size an hstate.
public struct PageSize: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The base-2 logarithm of the number of base pages in it: 0 for 4 KiB, 9 for 2 MiB, 18 for 1 GiB.
    package let order: UInt8

    /// The size of 2 to the power of `order` base pages.
    package init(order: UInt8) { self.order = order }

    /// A size in bytes; nil when it is no power of two, or less than a base page.
    public init?(bytes: UInt64) {
        guard bytes.nonzeroBitCount == 1, bytes >= Self.base.bytes else { return nil }
        order = UInt8(bytes.trailingZeroBitCount - Self.base.bytes.trailingZeroBitCount)
    }

    /// The base page, which an entry of the processor's page table maps: `sysconf(_SC_PAGESIZE)`.
    public static let base = PageSize(order: 0)
    /// 2 MiB
    public static let huge2M = PageSize(order: 9)
    /// 1 GiB
    public static let huge1G = PageSize(order: 18)

    /// The size in bytes.
    public var bytes: UInt64 { UInt64(Self.baseBytes) << order }
    /// The size in base pages.
    package var basePages: UInt64 { 1 << order }

    public static func < (left: Self, right: Self) -> Bool { left.order < right.order }

    public var description: String {
        bytes >= 1 << 30 ? "\(bytes >> 30)G" : bytes >= 1 << 20 ? "\(bytes >> 20)M" : "\(bytes >> 10)K"
    }

    private static let baseBytes = sysconf(CInt(_SC_PAGESIZE))
}

/// The seals of a memory file: `F_ADD_SEALS` in fcntl(2).
package struct Seals: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// `F_SEAL_SEAL`: no further seals.
    package static let seal = Seals(rawValue: 0x1)
    /// `F_SEAL_SHRINK`
    package static let shrink = Seals(rawValue: 0x2)
    /// `F_SEAL_GROW`
    package static let grow = Seals(rawValue: 0x4)
    /// `F_SEAL_WRITE`: fails with EBUSY while a writable shared mapping exists.
    package static let write = Seals(rawValue: 0x8)
    /// `F_SEAL_FUTURE_WRITE`: existing writable mappings stay.
    package static let futureWrite = Seals(rawValue: 0x10)
    /// `F_SEAL_EXEC`: the permission to execute the file cannot change. Since Linux 6.3.
    package static let exec = Seals(rawValue: 0x20)
}

/// Makes a file that lives in memory and has no name, sealable and closed on exec: memfd_create(2).
///
/// - Parameters:
///   - name: a name that only /proc shows, at most 249 bytes.
///   - size: in bytes. Pages are allocated when they are first touched.
///   - pageSize: base pages, or huge ones (`MFD_HUGETLB`).
/// - Returns: the only descriptor of the file.
/// - Throws: EINVAL for a name that is too long or a page size that the kernel does not have, EMFILE, ENOMEM.
public func makeMemoryFile(
    named name: String, size: UInt64, pageSize: PageSize = .base
) throws(SystemCallError) -> OwnedDescriptor {
    var flags = CUnsignedInt(MFD_CLOEXEC) | CUnsignedInt(MFD_ALLOW_SEALING)
    if pageSize != .base {
        flags |= CUnsignedInt(MFD_HUGETLB) | CUnsignedInt(pageSize.bytes.trailingZeroBitCount) << 26
    }
    let number = try systemCall("memfd_create") { unsafe cshims_memfd_create(name, flags) }
    let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    try file.borrowed.setSize(size)
    return file
}

extension FileDescriptor {
    /// Sets the size of the file: ftruncate(2).
    ///
    /// - Throws: EPERM when a seal forbids it, EINVAL for a hugetlb file when the size is not a multiple of its page
    ///   size, EFBIG when no file can be so large.
    package func setSize(_ size: UInt64) throws(SystemCallError) {
        let size = try Self.offset(size, "ftruncate")
        try systemCall("ftruncate") { ftruncate(rawValue, size) }
    }

    /// The seals of a memory file: fcntl(2), `F_GET_SEALS`.
    ///
    /// - Throws: EINVAL when this kind of file has no seals.
    package func seals() throws(SystemCallError) -> Seals {
        Seals(rawValue: try UInt32(systemCall("fcntl") { cshims_get_seals(rawValue) }))
    }

    /// Whether the file can have seals, as only files of tmpfs and hugetlbfs can. This asks no file system.
    ///
    /// - Throws: EBADF when this is not open, or is an O_PATH descriptor.
    package func hasSeals() throws(SystemCallError) -> Bool {
        do throws(SystemCallError) {
            _ = try seals()
            return true
        } catch {
            if error.errno == .invalidArgument { return false }
            throw error
        }
    }

    /// Adds seals to a memory file: fcntl(2), `F_ADD_SEALS`.
    ///
    /// - Throws: EPERM when ``Seals/seal`` is set, EBUSY for ``Seals/write`` while the file is mapped for writing.
    package func addSeals(_ seals: Seals) throws(SystemCallError) {
        try systemCall("fcntl") { cshims_add_seals(rawValue, CInt(seals.rawValue)) }
    }

    /// Allocates the pages of a range, so that no store into them can cause a SIGBUS: fallocate(2).
    ///
    /// - Throws: ENOSPC when the file system is full, EPERM when a seal forbids it.
    package func allocate(offset: UInt64, length: UInt64) throws(SystemCallError) {
        let (offset, length) = (try Self.offset(offset, "fallocate"), try Self.offset(length, "fallocate"))
        try systemCall("fallocate") { cshims_fallocate(rawValue, offset, length) }
    }

    /// Frees the pages of a range, and keeps the size of the file: fallocate(2), `FALLOC_FL_PUNCH_HOLE`.
    ///
    /// - Throws: EPERM when a seal forbids it.
    package func punchHole(offset: UInt64, length: UInt64) throws(SystemCallError) {
        let (offset, length) = (try Self.offset(offset, "fallocate"), try Self.offset(length, "fallocate"))
        try systemCall("fallocate") { cshims_punch_hole(rawValue, offset, length) }
    }

    /// Converts a size or offset.
    ///
    /// - Throws: EFBIG for a number that is larger than any file.
    private static func offset(_ number: UInt64, _ call: StaticString) throws(SystemCallError) -> off_t {
        guard let offset = off_t(exactly: number) else { throw SystemCallError(call, .fileTooLarge) }
        return offset
    }

    /// Moves the offset of the open file description: lseek(2).
    ///
    /// - Throws: EINVAL for a negative offset, ESPIPE.
    package func setPosition(_ position: Int64) throws(SystemCallError) {
        try systemCall("lseek") { Glibc.lseek(rawValue, off_t(position), SEEK_SET) }
    }
}
