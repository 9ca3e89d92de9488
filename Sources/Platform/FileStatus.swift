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

/// The part of fstat(2) and fstatfs(2) that live update asks for.
public struct FileStatus: Sendable {
    /// Device and inode number.
    public let identity: FileIdentity
    /// In bytes.
    public let size: UInt64
    /// Names that the file has in its file system; 0 for a memory file.
    public let links: UInt64
    /// Whether it is a regular file.
    public let isRegular: Bool

    /// Asks fstat(2).
    ///
    /// - Throws: EBADF when the descriptor is not open.
    public init(of descriptor: FileDescriptor) throws(SystemCallError) {
        var status = stat()
        try systemCall("fstat") { unsafe fstat(descriptor.rawValue, &status) }
        identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        size = UInt64(status.st_size)
        links = UInt64(status.st_nlink)
        isRegular = status.st_mode & S_IFMT == S_IFREG
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
        switch type {
        case 0x0102_1994: self = .tmpfs  // TMPFS_MAGIC
        case 0x9584_58F6: self = .hugetlbfs(pageSize: UInt64(blockSize))  // HUGETLBFS_MAGIC
        default: self = .other(type)
        }
    }
}
