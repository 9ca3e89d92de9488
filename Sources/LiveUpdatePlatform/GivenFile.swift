// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
public import SystemPackage

/// Files whose paths or descriptors a program was given.
extension FileDescriptor {
    /// Whether this descriptor was inherited over execve(2): it is open, and is not closed on exec. All descriptors
    /// that this package opens are closed on exec.
    public var isInherited: Bool { cshims_fcntl(rawValue, F_GETFD, 0) == 0 }
}

/// Finds the file that a path leads to, without opening it: open(2), `O_PATH`. Symbolic links are followed.
///
/// - Throws: ENOENT, EACCES, ENOTDIR, EMFILE and other errors of open(2).
public func findFileBehind(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe cshims_find_file_behind(path) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Opens the file that a path leads to. A regular file is opened read-only. Other files are only found (`O_PATH`),
/// because opening a device or a named pipe has effects.
///
/// - Throws: ENOENT, EACCES, EMFILE and other errors of open(2).
public func openToLook(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let found = try findFileBehind(path)
    guard try FileStatus(of: found.borrowed).isRegular else { return found }
    return try found.borrowed.reopenedForReading()
}
