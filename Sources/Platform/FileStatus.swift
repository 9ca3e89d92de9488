import CShims
import Glibc
public import SystemPackage

/// What makes two descriptors the same file: the device and the inode number (stat(2)).
public struct FileIdentity: Hashable, Sendable, CustomStringConvertible {
    /// `st_dev`
    public var device: UInt64
    /// `st_ino`
    public var inode: UInt64

    /// Names a file by its two numbers.
    public init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }

    public var description: String { "device \(device), inode \(inode)" }
}

/// What an inode is: the file type of inode(7).
public enum InodeType: String, Sendable {
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
    /// Of no type: an eventfd, epoll and others that are made without a file system of their own.
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

/// The part of fstat(2) that live update asks for.
public struct FileStatus: Sendable {
    /// Device and inode number.
    public let identity: FileIdentity
    /// In bytes.
    public let size: UInt64
    /// Names that the file has in its file system; 0 for a memory file.
    public let links: UInt64
    /// Bytes that are allocated for it: `st_blocks`. Holes have none.
    public let allocated: UInt64
    /// What kind of inode it is.
    public let type: InodeType
    /// Whether it is a regular file.
    public var isRegular: Bool { type == .regular }
    /// Whether it is a directory.
    public var isDirectory: Bool { type == .directory }
    private let owner: uid_t
    private let mode: mode_t
    /// Whether it belongs to this process's user, and nobody else may write to it. Asks geteuid(2), which those who want
    /// other fields do not pay for.
    public var isOursAlone: Bool { owner == geteuid() && mode & (S_IWGRP | S_IWOTH) == 0 }

    /// Asks fstat(2).
    ///
    /// - Throws: EBADF when the descriptor is not open.
    public init(of descriptor: FileDescriptor) throws(SystemCallError) {
        var status = stat()
        try systemCall("fstat") { unsafe fstat(descriptor.rawValue, &status) }
        self.init(status)
    }

    /// Asks stat(2), which follows symbolic links and those of /proc/PID/fd, or lstat(2).
    ///
    /// - Throws: ENOENT, EACCES and what else stat(2) lists.
    public init(at path: String, followingLinks: Bool = true) throws(SystemCallError) {
        var status = stat()
        if followingLinks {
            try systemCall("stat") { unsafe stat(path, &status) }
        } else {
            try systemCall("lstat") { unsafe lstat(path, &status) }
        }
        self.init(status)
    }

    private init(_ status: stat) {
        identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        size = UInt64(status.st_size)
        links = UInt64(status.st_nlink)
        // Always in units of 512, whatever the file system's blocks are.
        allocated = UInt64(status.st_blocks) * 512
        type = InodeType(mode: status.st_mode)
        owner = status.st_uid
        mode = status.st_mode
    }
}

/// The file system that a file is on, as far as live update tells them apart: fstatfs(2).
public enum FileSystemKind: Equatable, Sendable {
    /// tmpfs: ordinary memory files live on a mount of the kernel's own of it.
    case tmpfs
    /// hugetlbfs, with its page size in bytes.
    case hugetlbfs(pageSize: UInt64)
    /// Any other, by its magic number.
    case other(Int64)

    /// Asks fstatfs(2).
    ///
    /// - Throws: EBADF when the descriptor is not open.
    public init(of descriptor: FileDescriptor) throws(SystemCallError) {
        var type: Int64 = 0
        var blockSize: Int64 = 0
        try systemCall("fstatfs") { unsafe cshims_filesystem(descriptor.rawValue, &type, &blockSize) }
        self.init(type: type, blockSize: blockSize)
    }

    /// Asks statfs(2), which follows symbolic links and those of /proc/PID/fd.
    ///
    /// - Throws: ENOENT, EACCES and what else statfs(2) lists.
    public init(at path: String) throws(SystemCallError) {
        var type: Int64 = 0
        var blockSize: Int64 = 0
        try systemCall("statfs") { unsafe cshims_filesystem_at(path, &type, &blockSize) }
        self.init(type: type, blockSize: blockSize)
    }

    private init(type: Int64, blockSize: Int64) {
        switch type {
        case 0x0102_1994: self = .tmpfs  // TMPFS_MAGIC
        case 0x9584_58F6: self = .hugetlbfs(pageSize: UInt64(blockSize))  // HUGETLBFS_MAGIC
        default: self = .other(type)
        }
    }
}
