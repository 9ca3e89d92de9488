// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// The identity of a file on ext4 or xfs that is the same under the next kernel. `st_dev` is not the same, because each
/// kernel numbers block devices itself.
package struct LastingIdentity: Hashable, Sendable, CustomStringConvertible {
    /// A number of 64 bits that is derived from the UUID of the file system.
    package let fileSystem: UInt64
    /// The inode number.
    package let inode: UInt64
    /// The generation of the inode. A new file with the number of a removed file has another one.
    package let generation: UInt32

    /// Makes an identity from its parts.
    package init(fileSystem: UInt64, inode: UInt64, generation: UInt32) {
        self.fileSystem = fileSystem
        self.inode = inode
        self.generation = generation
    }

    /// The file system and the inode, for the comparisons of the core.
    package var identity: FileIdentity { FileIdentity(device: fileSystem, inode: inode) }

    package var description: String {
        "file system \(String(fileSystem, radix: 16)), inode \(inode), generation \(generation)"
    }
}

/// The file systems on which files can be on DAX and survive a restart of the kernel. virtiofs has DAX, too, but its
/// memory belongs to the host.
package enum DaxFileSystem: String, CaseIterable, Sendable {
    case ext4
    case xfs

    /// Reads the identity of a file on this file system: fstatvfs(3), ioctl_xfs_fsgeometry(2) and FS_IOC_GETVERSION of
    /// ioctl_iflags(2).
    ///
    /// - Throws: EBADF for a descriptor that is not open or only names the file (O_PATH); ENOTTY for a file on another
    ///   file system.
    package func identity(of file: FileDescriptor) throws(SystemCallError) -> LastingIdentity {
        LastingIdentity(
            fileSystem: try number(of: file), inode: try FileStatus(cached: file).identity.inode,
            generation: try file.inodeGeneration())
    }

    /// The number of the file system. That of ext4 is its `f_fsid`, which the kernel derives from the UUID. That of xfs
    /// is its UUID, folded: its `f_fsid` is the device number.
    private func number(of file: FileDescriptor) throws(SystemCallError) -> UInt64 {
        switch self {
        case .ext4: try file.fileSystemNumber()
        case .xfs: try file.foldedUUIDOfXFS()
        }
    }
}

extension FileDescriptor {
    fileprivate func fileSystemNumber() throws(SystemCallError) -> UInt64 {
        var found = statvfs()
        try systemCall("fstatvfs") { unsafe fstatvfs(rawValue, &found) }
        return UInt64(found.f_fsid)
    }

    /// FS_IOC_GETVERSION: `_IOR('v', 1, long)`. The kernel writes an int.
    fileprivate func inodeGeneration() throws(SystemCallError) -> UInt32 {
        var argument = [UInt8](repeating: 0, count: 8)
        try control(0x8008_7601, &argument)
        return argument.word(at: 0, UInt32.self)
    }

    /// XFS_IOC_FSGEOMETRY_V1: `_IOR('X', 100, struct xfs_fsop_geom_v1)`, 112 bytes. The UUID has the bytes from 64 on.
    fileprivate func foldedUUIDOfXFS() throws(SystemCallError) -> UInt64 {
        var geometry = [UInt8](repeating: 0, count: 112)
        try control(0x8070_5864, &geometry)
        return geometry.word(at: 64, UInt64.self) ^ geometry.word(at: 72, UInt64.self)
    }
}

extension [UInt8] {
    /// A little-endian integer at an offset.
    fileprivate func word<Value: FixedWidthInteger>(at offset: Int, _: Value.Type) -> Value {
        self[offset..<offset + Value.bitWidth / 8].reversed().reduce(0) { $0 << 8 | Value($1) }
    }
}

/// A run of bytes of a file, and its place in persistent memory.
package struct MappedExtent: Hashable, Sendable {
    /// The bytes of the file.
    package let place: Extent
    /// The offset on the file system's device, in bytes.
    package let physical: UInt64
}

extension MappedExtent {
    /// The bytes in whole pages of a size, if the extent's place in the file and its place in memory are aligned alike.
    package func mappable(by page: PageSize) -> UInt64 {
        guard place.offset % page.bytes == physical % page.bytes else { return 0 }
        let first = (place.offset + page.bytes - 1) / page.bytes * page.bytes
        let last = place.end / page.bytes * page.bytes
        return last > first ? last - first : 0
    }
}

extension FileDescriptor {
    /// The data of a file on ext4 or xfs: FS_IOC_FIEMAP with FIEMAP_FLAG_SYNC.
    ///
    /// - Parameters:
    ///   - size: the size of the file in bytes.
    ///   - includingUnwritten: whether extents are listed that were only allocated and never written. Otherwise they
    ///     count as holes, because both read as zeros.
    /// - Returns: the extents, in the file's order.
    /// - Throws: EBADF, EOPNOTSUPP for another file system, ECANCELED by a ``Cancellation``.
    package func mappedExtents(
        size: UInt64, includingUnwritten: Bool = false
    ) throws(SystemCallError) -> [MappedExtent] {
        var found: [MappedExtent] = []
        var at: UInt64 = 0
        while at < size {
            try Cancellation.check()
            let page = try FileMapPage(of: self, from: at, to: size, includingUnwritten)
            found += page.extents
            guard let next = page.next else { break }
            at = next
        }
        return found
    }
}

/// One answer of FS_IOC_FIEMAP: `struct fiemap` of 32 bytes, and `struct fiemap_extent` of 56 bytes each.
struct FileMapPage {
    static let room = 512
    static let headLength = 32
    static let extentLength = 56

    private(set) var extents: [MappedExtent] = []
    /// The offset at which the next call goes on; nil after the last extent.
    private(set) var next: UInt64?

    init(
        of file: FileDescriptor, from start: UInt64, to end: UInt64, _ includesUnwritten: Bool
    ) throws(SystemCallError) {
        var argument = start.littleEndianBytes + (end - start).littleEndianBytes
        // FIEMAP_FLAG_SYNC, no extents so far, room, reserved.
        argument += UInt32(1).littleEndianBytes + UInt32(0).littleEndianBytes
        argument += UInt32(Self.room).littleEndianBytes + UInt32(0).littleEndianBytes
        argument += [UInt8](repeating: 0, count: Self.room * Self.extentLength)
        // FS_IOC_FIEMAP: _IOWR('f', 11, struct fiemap)
        try file.control(0xC020_660B, &argument)
        self.init(answer: argument, from: start, to: end, includesUnwritten)
    }

    /// Reads an answer about the bytes from `start` to `end`. Extents begin before it and end after it.
    init(answer argument: [UInt8], from start: UInt64, to end: UInt64, _ includesUnwritten: Bool) {
        let count = min(Int(argument.word(at: 20, UInt32.self)), Self.room)
        for index in 0..<count {
            let base = Self.headLength + index * Self.extentLength
            let offset = argument.word(at: base, UInt64.self)
            let length = argument.word(at: base + 16, UInt64.self)
            let flags = argument.word(at: base + 40, UInt32.self)
            let isLast = flags & 1 != 0
            guard length > 0, offset < end else { return }
            next = isLast || length > end - offset ? nil : offset + length
            // FIEMAP_EXTENT_UNWRITTEN
            guard includesUnwritten || flags & 0x800 == 0 else { continue }
            let skipped = start > offset ? min(start - offset, length) : 0
            let place = Extent(offset: offset + skipped, length: min(length, end - offset) - skipped)
            extents.append(
                MappedExtent(place: place, physical: argument.word(at: base + 8, UInt64.self) + skipped))
        }
    }
}

extension FixedWidthInteger {
    fileprivate var littleEndianBytes: [UInt8] {
        (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> ($0 * 8)) }
    }
}
