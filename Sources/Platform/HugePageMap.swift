import CShims
public import SystemPackage

/// One huge page of a file: its place in the file and, where it may be known, in memory.
public struct HugePage: Hashable, Sendable {
    /// In base pages from the start of the file.
    public var index: UInt64
    /// The page frame number of its first base page; 0 when this process may not know it.
    public var frame: UInt64

    /// Names a huge page.
    public init(index: UInt64, frame: UInt64) {
        self.index = index
        self.frame = frame
    }
}

/// Which pages of a hugetlb file exist, exactly, without allocating one; also for sealed and read-only descriptors,
/// and with no free page in the pool.
///
/// `SEEK_DATA` and mincore(2) lie about hugetlb, reading a hole through a mapping fills it, and a plain shared mapping
/// reserves a page for every hole. So: a private mapping without reservation, userfaultfd(2) in minor mode, and
/// `UFFDIO_CONTINUE` (ioctl_userfaultfd(2)), which maps what is in the page cache and answers EFAULT for what is not.
/// The frames come from /proc/self/pagemap (proc(5)) of that mapping.
public enum HugePageMap {
    /// The pages that exist, in the order of the file.
    ///
    /// - Parameters:
    ///   - descriptor: of a file on hugetlbfs.
    ///   - size: of the file in bytes; the last page may be cut.
    ///   - pageSize: of its file system.
    /// - Throws: EPERM or ENOSYS where userfaultfd is not allowed or not built in, ENOMEM, EMFILE.
    public static func pages(
        of descriptor: FileDescriptor, size: UInt64, pageSize: PageSize
    ) throws(SystemCallError) -> [HugePage] {
        if size == 0 { return [] }
        // Whole pages: munmap(2) refuses others.
        let whole = (size + pageSize.bytes - 1) / pageSize.bytes * pageSize.bytes
        let view = try Mapping(of: descriptor, length: whole, .privateView)
        var pages = try mapWhatExists(view.address, size: whole, pageSize: pageSize)
        try PageFrames().fill(&pages, mappedAt: view.address)
        return pages
    }

    private static func mapWhatExists(
        _ address: UInt64, size: UInt64, pageSize: PageSize
    ) throws(SystemCallError) -> [HugePage] {
        let userfault = OwnedDescriptor(
            taking: FileDescriptor(rawValue: try systemCall("userfaultfd") { cshims_userfaultfd() }))
        try systemCall("UFFDIO_API") { cshims_userfault_api(userfault.borrowed.rawValue) }
        try systemCall("UFFDIO_REGISTER") {
            cshims_userfault_register_minor(userfault.borrowed.rawValue, address, size)
        }
        var pages: [HugePage] = []
        pages.reserveCapacity(Int(size / pageSize.bytes))
        var at: UInt64 = 0
        while at < size {
            let mapped = try mapRun(userfault.borrowed, address + at, size - at)
            for page in 0..<mapped / pageSize.bytes {
                pages.append(HugePage(index: (at + page * pageSize.bytes) / PageSize.base.bytes, frame: 0))
            }
            // Where nothing is mapped there is a hole. A run can also end early for other reasons, so it is tried anew.
            at += mapped == 0 ? pageSize.bytes : mapped
        }
        return pages
    }

    /// Maps pages until the first hole and returns their bytes.
    private static func mapRun(
        _ userfault: FileDescriptor, _ address: UInt64, _ length: UInt64
    ) throws(SystemCallError) -> UInt64 {
        var mapped: Int64 = 0
        do throws(SystemCallError) {
            try systemCall("UFFDIO_CONTINUE") {
                unsafe cshims_userfault_continue(userfault.rawValue, address, length, &mapped)
            }
        } catch {
            // EAGAIN: some were mapped before the hole. EFAULT: the first is a hole.
            if error.errno == .resourceTemporarilyUnavailable, mapped > 0 { return UInt64(mapped) }
            if error.errno == .badAddress { return 0 }
            throw error
        }
        return UInt64(mapped)
    }
}
