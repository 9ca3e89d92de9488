// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdatePlatform
import SystemPackage

/// A hugetlbfs on a directory of its own. It is unmounted with all its files when this object is released.
package final class HugetlbfsMount {
    /// The path of the mount.
    package let path: String

    /// Mounts a hugetlbfs with pages of 2 MiB.
    package init() throws {
        path = "/tmp/liveupdate-hugetlbfs-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try HugePageMount.make(FilePath(path), .huge2M)
    }

    deinit { HugePageMount.remove(FilePath(path)) }

    /// A file of that many pages, all of which exist.
    package func makeFile(_ name: String, pages: UInt64) throws -> OwnedDescriptor {
        let path = "\(path)/\(name)"
        let number = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: Glibc.errno)) }
        let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        try file.borrowed.setSize(pages * PageSize.huge2M.bytes)
        if pages > 0 { try file.borrowed.allocate(offset: 0, length: pages * PageSize.huge2M.bytes) }
        return file
    }
}
