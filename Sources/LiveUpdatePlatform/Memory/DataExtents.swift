// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// A run of bytes in a file that holds data. The bytes between two extents are a hole.
package struct Extent: Hashable, Sendable {
    /// The offset in bytes from the start of the file.
    package var offset: UInt64
    /// The length in bytes.
    package var length: UInt64

    /// Makes an extent.
    package init(offset: UInt64, length: UInt64) {
        self.offset = offset
        self.length = length
    }

    /// The offset of the first byte after the extent.
    package var end: UInt64 { offset + length }
}

/// Finds the data of an ordinary memory file: lseek(2) with `SEEK_DATA` and `SEEK_HOLE`, which is exact for tmpfs and
/// fills no hole. This moves the offset, so the descriptor must have an open file description of its own. Pages that
/// were only allocated (fallocate(2)) and never written count as holes, because both read as zeros.
///
/// Do not use this for hugetlb files, because `SEEK_DATA` is wrong for them: see ``HugePageMap``.
///
/// - Throws: EBADF when the descriptor is not open; ECANCELED by a ``Cancellation``.
package func dataExtents(of descriptor: FileDescriptor, size: UInt64) throws(SystemCallError) -> [Extent] {
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

// SEEK_DATA and SEEK_HOLE of lseek(2) are behind _GNU_SOURCE, which Swift's Glibc module does not define.
private let seekData: CInt = 3
private let seekHole: CInt = 4

/// The offset that lseek(2) finds; nil when there is no more data (ENXIO).
private func seek(_ descriptor: FileDescriptor, _ offset: UInt64, whence: CInt) throws(SystemCallError) -> UInt64? {
    do throws(SystemCallError) {
        return UInt64(try systemCall("lseek") { Glibc.lseek(descriptor.rawValue, off_t(offset), whence) })
    } catch {
        if error.errno == .noSuchAddressOrDevice { return nil }
        throw error
    }
}
