import Glibc
public import Platform
import SystemPackage

/// A hugetlbfs that is mounted on a directory of its own, and unmounted when this goes away, with all its files.
public final class HugetlbfsMount {
    /// Where it is mounted.
    public let path: String

    /// Mounts one of pages of 2 MiB.
    public init() throws {
        path = "/tmp/liveupdate-hugetlbfs-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try HugePageMount.make(FilePath(path), .huge2M)
    }

    deinit { HugePageMount.remove(FilePath(path)) }

    /// A file of that many pages, all of them there.
    public func makeFile(_ name: String, pages: UInt64) throws -> OwnedDescriptor {
        let path = "\(path)/\(name)"
        let number = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: Glibc.errno)) }
        let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        try file.borrowed.setSize(pages * PageSize.huge2M.bytes)
        if pages > 0 { try file.borrowed.allocate(offset: 0, length: pages * PageSize.huge2M.bytes) }
        return file
    }
}
