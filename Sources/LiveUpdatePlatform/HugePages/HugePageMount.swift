// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// The mounts of hugetlbfs, where files on huge pages can have names (mount(2), and the kernel's
/// admin-guide/mm/hugetlbpage).
package enum HugePageMount {
    /// The mount points of all hugetlbfs mounts.
    ///
    /// - Throws: ENOENT without /proc.
    package static func all() throws(SystemCallError) -> [FilePath] {
        try Mount.all().filter { $0.type == "hugetlbfs" }.map(\.point)
    }

    /// Finds a mounted hugetlbfs of a page size on which this process may make files.
    ///
    /// - Parameters:
    ///   - size: the page size of the file system.
    ///   - directory: mounts in this directory are left out, because they belong to other users.
    /// - Returns: the mount point; nil when there is none.
    /// - Throws: ENOENT without /proc.
    package static func find(_ size: PageSize, outside directory: FilePath) throws(SystemCallError) -> FilePath? {
        try all().first { path in
            if path.starts(with: directory) { return false }
            guard let mount = try? findFile(path), unsafe path.withPlatformString({ unsafe access($0, W_OK) }) == 0
            else { return false }
            return (try? FileSystemKind(of: mount.borrowed)) == .hugetlbfs(pageSize: size.bytes)
        }
    }

    /// Mounts a hugetlbfs for this user on a new directory.
    ///
    /// - Throws: EPERM without CAP_SYS_ADMIN, EINVAL for a page size that the kernel does not have, EEXIST.
    package static func make(_ path: FilePath, _ size: PageSize) throws(SystemCallError) {
        try systemCall("mkdir") { unsafe path.withPlatformString { unsafe mkdir($0, 0o700) } }
        do {
            try systemCall("mount") {
                unsafe path.withPlatformString {
                    unsafe mount("liveupdate", $0, "hugetlbfs", 0, "pagesize=\(size),mode=0700")
                }
            }
        } catch {
            remove(path)
            throw error
        }
    }

    /// Undoes ``make(_:_:)``. It does nothing where nothing was made.
    package static func remove(_ path: FilePath) {
        unsafe path.withPlatformString { name in
            _ = unsafe umount2(name, CInt(MNT_DETACH))
            _ = unsafe rmdir(name)
        }
    }
}
