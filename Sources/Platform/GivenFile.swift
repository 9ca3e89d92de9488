import CShims
import Glibc
public import SystemPackage

/// Files that a program is told to look at.
extension FileDescriptor {
    /// Whether this descriptor was inherited over execve(2): it is open, and not closed on exec, as all that this package
    /// opens are.
    public var isInherited: Bool { cshims_fcntl(rawValue, F_GETFD, 0) == 0 }
}

/// Finds the file that a path leads to, without opening it: open(2), `O_PATH`. Symbolic links are followed.
///
/// - Throws: ENOENT, EACCES, ENOTDIR, EMFILE and what else open(2) lists.
public func findFileBehind(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe cshims_find_file_behind(path) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Opens what a path leads to: a regular file read-only. Anything else is only found (`O_PATH`), because opening a device
/// or a named pipe does something.
///
/// - Throws: ENOENT, EACCES, EMFILE and what else open(2) lists.
public func openToLook(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let found = try findFileBehind(path)
    guard try FileStatus(of: found.borrowed).isRegular else { return found }
    return try found.borrowed.reopenedForReading()
}
