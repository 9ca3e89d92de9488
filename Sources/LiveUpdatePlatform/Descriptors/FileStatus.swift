// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
public import SystemPackage

/// The identity of a file, equal for all of its descriptors: the device and the inode number (stat(2)).
public struct FileIdentity: Hashable, Sendable, CustomStringConvertible {
    /// `st_dev`
    public var device: UInt64
    /// `st_ino`
    public var inode: UInt64

    /// Identifies a file by its two numbers.
    public init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }

    public var description: String { "device \(device), inode \(inode)" }
}

/// The type of an inode: inode(7).
package enum InodeType: String, Sendable {
    /// `S_IFREG`
    case regular
    /// `S_IFDIR`
    case directory
    /// `S_IFIFO`: a pipe, with or without a name.
    case pipe
    /// `S_IFSOCK`
    case socket
    /// `S_IFCHR`
    case characterDevice
    /// `S_IFBLK`
    case blockDevice
    /// `S_IFLNK`
    case symbolicLink
    /// An inode without a type: an eventfd, an epoll descriptor and others that are in no file system of their own.
    case anonymous

    fileprivate init(mode: mode_t) {
        switch mode & S_IFMT {
        case S_IFREG: self = .regular
        case S_IFDIR: self = .directory
        case S_IFIFO: self = .pipe
        case S_IFSOCK: self = .socket
        case S_IFCHR: self = .characterDevice
        case S_IFBLK: self = .blockDevice
        case S_IFLNK: self = .symbolicLink
        default: self = .anonymous
        }
    }
}

/// The fields of fstat(2) that live update needs.
public struct FileStatus: Sendable {
    /// The device and inode number.
    public let identity: FileIdentity
    /// The size in bytes.
    public let size: UInt64
    /// The number of names that the file has in its file system; 0 for a memory file.
    package let links: UInt64
    /// The bytes that are allocated for the file: `st_blocks`. Holes have none.
    package let allocated: UInt64
    /// What kind of inode it is.
    package let type: InodeType
    /// Whether it is a regular file.
    package var isRegular: Bool { type == .regular }
    /// Whether it is a directory.
    package var isDirectory: Bool { type == .directory }
    /// The rights to read, write and execute the file: chmod(2).
    package var permissions: FilePermissions { FilePermissions(rawValue: mode & 0o7777) }
    /// The number of the device that the file is: `st_rdev`. 0 for a file that is no device.
    package let deviceNumber: UInt64
    /// Whether the CPU reaches the file's pages directly in persistent memory: STATX_ATTR_DAX. Only
    /// ``init(cached:)`` asks for it.
    package let isDax: Bool
    /// The time at which the content last changed, in nanoseconds of CLOCK_REALTIME: `st_mtim`. Nil from
    /// ``init(cached:)``, which does not ask for it.
    package let modified: Int64?
    /// The user that the file belongs to.
    package let owner: UInt32
    /// The group: `st_gid`.
    package let group: UInt32
    private let mode: mode_t
    /// Whether the file belongs to this process's user, and no other user may write to it. Only this property asks
    /// geteuid(2), so callers that use other fields do not pay for it.
    package var isOursAlone: Bool { owner == geteuid() && mode & (S_IWGRP | S_IWOTH) == 0 }

    /// Asks fstat(2).
    ///
    /// - Throws: EBADF when the descriptor is not open.
    public init(of descriptor: FileDescriptor) throws(SystemCallError) {
        var status = stat()
        try systemCall("fstat") { unsafe fstat(descriptor.rawValue, &status) }
        self.init(status)
    }

    /// Asks stat(2), which follows symbolic links and the links of /proc/PID/fd, or lstat(2).
    ///
    /// - Throws: ENOENT, EACCES and other errors of stat(2).
    public init(at path: String, followingLinks: Bool = true) throws(SystemCallError) {
        var status = stat()
        if followingLinks {
            try systemCall("stat") { unsafe stat(path, &status) }
        } else {
            try systemCall("lstat") { unsafe lstat(path, &status) }
        }
        self.init(status)
    }

    /// Asks statx(2) with AT_STATX_DONT_SYNC, so that no file system asks its server. Identity and type are always
    /// right. The other fields of a file of FUSE or NFS are as old as the kernel's cache.
    ///
    /// - Throws: EBADF when the descriptor is not open, ENOSYS before Linux 4.11.
    package init(cached descriptor: FileDescriptor) throws(SystemCallError) {
        var found = cshims_status()
        try systemCall("statx") { unsafe cshims_cached_status(descriptor.rawValue, &found) }
        self.init(found)
    }

    init(_ found: cshims_status) {
        identity = FileIdentity(device: found.device, inode: found.inode)
        size = found.size
        links = found.links
        allocated = Self.bytes(ofBlocks: found.blocks)
        type = InodeType(mode: found.mode)
        deviceNumber = found.of_device
        isDax = found.is_dax != 0
        modified = nil
        owner = found.user
        group = found.group
        mode = found.mode
    }

    // A file system in user space can return any number.
    init(_ status: stat) {
        identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        size = UInt64(clamping: status.st_size)
        links = UInt64(status.st_nlink)
        allocated = Self.bytes(ofBlocks: UInt64(clamping: status.st_blocks))
        type = InodeType(mode: status.st_mode)
        deviceNumber = UInt64(status.st_rdev)
        isDax = false
        modified = nanoseconds(of: status.st_mtim)
        owner = status.st_uid
        group = status.st_gid
        mode = status.st_mode
    }

    /// `st_blocks` is in units of 512 bytes on every file system.
    private static func bytes(ofBlocks blocks: UInt64) -> UInt64 {
        let (bytes, isTooLarge) = blocks.multipliedReportingOverflow(by: 512)
        return isTooLarge ? .max : bytes
    }
}

extension FileDescriptor {
    /// Whether this descriptor only names a file, and has not opened it: O_PATH of open(2). Asks fcntl(2), `F_GETFL`.
    ///
    /// - Throws: EBADF when this is not open.
    package func isPathOnly() throws(SystemCallError) -> Bool {
        let flags = try systemCall("fcntl") { cshims_fcntl(rawValue, F_GETFL, 0) }
        return flags & Self.pathOnly != 0
    }

    /// `O_PATH`, which Swift's Glibc module does not define.
    private static let pathOnly: CInt = 0o10000000

    /// Whether fstat(2), fstatfs(2) or close(2) may wait for the server of a file system, as they do for files of FUSE
    /// and NFS. This asks only the kernel, and so is true for some other files, too.
    ///
    /// It is false for memory files, for files on a block device, for O_PATH descriptors, and for everything that is
    /// neither a regular file nor a directory.
    ///
    /// - Throws: EBADF when this is not open.
    package func mayAskServer() throws(SystemCallError) -> Bool {
        if try isPathOnly() { return false }
        if try hasSeals() { return false }
        let status = try FileStatus(cached: self)
        // The major number of a file system without a block device is 0.
        return (status.isRegular || status.isDirectory) && status.identity.device >> 8 & 0xFFF == 0
    }
}

/// The file system that a file is on, as far as live update distinguishes them: fstatfs(2).
package enum FileSystemKind: Equatable, Sendable {
    /// tmpfs. Ordinary memory files are on a tmpfs mount of the kernel's own.
    case tmpfs
    /// hugetlbfs, with its page size in bytes.
    case hugetlbfs(pageSize: UInt64)
    /// Another file system, by its magic number.
    case other(Int64)

    /// Whether the files are in memory, and end with the kernel: tmpfs, hugetlbfs and ramfs.
    package var isInMemory: Bool {
        switch self {
        case .tmpfs, .hugetlbfs: true
        // RAMFS_MAGIC
        case .other(let magic): magic == 0x8584_58F6
        }
    }

    /// Asks fstatfs(2).
    ///
    /// - Throws: EBADF when the descriptor is not open.
    public init(of descriptor: FileDescriptor) throws(SystemCallError) {
        var type: Int64 = 0
        var blockSize: Int64 = 0
        try systemCall("fstatfs") { unsafe cshims_filesystem(descriptor.rawValue, &type, &blockSize) }
        self.init(type: type, blockSize: blockSize)
    }

    /// Asks statfs(2), which follows symbolic links and the links of /proc/PID/fd.
    ///
    /// - Throws: ENOENT, EACCES and other errors of statfs(2).
    package init(at path: String) throws(SystemCallError) {
        var type: Int64 = 0
        var blockSize: Int64 = 0
        try systemCall("statfs") { unsafe cshims_filesystem_at(path, &type, &blockSize) }
        self.init(type: type, blockSize: blockSize)
    }

    private init(type: Int64, blockSize: Int64) {
        switch type {
        case 0x0102_1994: self = .tmpfs  // TMPFS_MAGIC
        case 0x9584_58F6: self = .hugetlbfs(pageSize: UInt64(clamping: blockSize))  // HUGETLBFS_MAGIC
        default: self = .other(type)
        }
    }
}
