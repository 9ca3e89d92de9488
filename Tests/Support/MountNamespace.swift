// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
package import SystemPackage

/// Mounts that only the calling thread sees, and that end with it. A test that uses them needs root and a process of
/// its own, and must not wait, because other tasks run on a thread that waits.
package enum MountNamespace {
    /// Enters a new mount namespace, with an empty tmpfs for other mounts.
    ///
    /// - Returns: the path of the tmpfs.
    package static func enter() throws -> FilePath {
        // Swift's Glibc module does not have unshare(2).
        typealias Function = @convention(c) (CInt) -> CInt
        guard let unshare = unsafe dlsym(nil, "unshare") else { throw SystemCallError("dlsym", .noFunction) }
        try check("unshare", unsafe unsafeBitCast(unshare, to: Function.self)(newMounts))
        try check("mount", unsafe Glibc.mount("none", "/", nil, recursive | isPrivate, nil))
        try mount("tmpfs", at: "/mnt")
        return "/mnt"
    }

    /// Enters the mount namespace of another process.
    package static func join(_ process: CInt) throws {
        // setns(2) needs _GNU_SOURCE, too.
        typealias Function = @convention(c) (CInt, CInt) -> CInt
        guard let setns = unsafe dlsym(nil, "setns") else { throw SystemCallError("dlsym", .noFunction) }
        _ = try enter()
        let place = try openFile("/proc/\(process)/ns/mnt")
        try check("setns", unsafe unsafeBitCast(setns, to: Function.self)(place.borrowed.rawValue, newMounts))
    }

    /// Makes a directory, and mounts a new file system of a kind on it.
    package static func mount(_ kind: String, at path: FilePath, _ options: String = "") throws {
        _ = unsafe path.withPlatformString { unsafe mkdir($0, 0o755) }
        try check("mount", unsafe path.withPlatformString { unsafe Glibc.mount("none", $0, kind, 0, options) })
    }

    /// Mounts a part of the tree at a second place.
    package static func bind(_ path: FilePath, to place: FilePath) throws {
        try check(
            "mount",
            unsafe path.withPlatformString { from in
                unsafe place.withPlatformString { to in unsafe Glibc.mount(from, to, nil, bound, nil) }
            })
    }

    /// From now on no file there can be opened for writing.
    package static func makeReadOnly(_ path: FilePath) throws {
        let flags = again | bound | readOnly
        try check("mount", unsafe path.withPlatformString { unsafe Glibc.mount(nil, $0, nil, flags, nil) })
    }

    /// Removes a file system from the tree, even if its files are open.
    package static func unmount(_ path: FilePath) throws {
        try check("umount2", unsafe path.withPlatformString { unsafe umount2($0, detached) })
    }

    private static func check(_ call: StaticString, _ result: CInt) throws {
        if result != 0 { throw SystemCallError(call, Errno(rawValue: Glibc.errno)) }
    }

    // mount(2), umount2(2) and unshare(2) take C enumerations, and macros that need _GNU_SOURCE.
    private static let newMounts: CInt = 0x20000
    private static let readOnly: CUnsignedLong = 1
    private static let again: CUnsignedLong = 32
    private static let bound: CUnsignedLong = 4096
    private static let recursive: CUnsignedLong = 16384
    private static let isPrivate: CUnsignedLong = 1 << 18
    private static let detached: CInt = 2
}
