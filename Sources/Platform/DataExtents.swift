import Glibc
public import SystemPackage

/// A run of bytes in a file that holds data; what lies between two is a hole.
public struct Extent: Hashable, Sendable {
    /// In bytes from the start of the file.
    public var offset: UInt64
    /// In bytes.
    public var length: UInt64

    /// Names a run of bytes.
    public init(offset: UInt64, length: UInt64) {
        self.offset = offset
        self.length = length
    }

    /// The first byte after it.
    public var end: UInt64 { offset + length }
}

/// Where an ordinary memory file has data: lseek(2) with `SEEK_DATA` and `SEEK_HOLE`, which is exact for tmpfs and
/// fills nothing. It moves the offset, so give it a descriptor of an open file description of its own. Pages that were
/// only allocated (fallocate(2)) and never written count as holes: they read as zeros, as holes do.
///
/// Not for hugetlb files, whose `SEEK_DATA` lies: see ``HugePageMap``.
///
/// - Throws: EBADF when it is not open; ECANCELED by a ``Cancellation``.
public func dataExtents(of descriptor: FileDescriptor, size: UInt64) throws(SystemCallError) -> [Extent] {
    var extents: [Extent] = []
    var at: UInt64 = 0
    while at < size, let start = try seek(descriptor, at, whence: seekData), start < size {
        try Cancellation.check()
        let end = try seek(descriptor, start, whence: seekHole) ?? size
        extents.append(Extent(offset: start, length: min(end, size) - start))
        at = end
    }
    return extents
}

// lseek(2): behind _GNU_SOURCE, which Swift's Glibc module does not define.
private let seekData: CInt = 3
private let seekHole: CInt = 4

/// nil when there is nothing more (ENXIO).
private func seek(_ descriptor: FileDescriptor, _ offset: UInt64, whence: CInt) throws(SystemCallError) -> UInt64? {
    do throws(SystemCallError) {
        return UInt64(try systemCall("lseek") { Glibc.lseek(descriptor.rawValue, off_t(offset), whence) })
    } catch {
        if error.errno == .noSuchAddressOrDevice { return nil }
        throw error
    }
}
