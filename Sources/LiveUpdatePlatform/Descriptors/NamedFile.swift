// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
package import SystemPackage

/// The access mode of a descriptor, as far as it is needed to open the file again: `F_GETFL` of fcntl(2).
package struct OpenMode: Hashable, Sendable {
    /// `O_RDONLY`, `O_WRONLY` or `O_RDWR`, and `O_APPEND`.
    package let rawValue: UInt32

    /// Takes the bits of the access mode from any flags.
    package init(flags: CInt) { rawValue = UInt32(flags & (O_ACCMODE | O_APPEND)) }

    /// `O_RDWR`
    package static let readWrite = OpenMode(flags: O_RDWR)

    /// Decodes the number of a record; nil when it is no valid access mode.
    package init?(rawValue: UInt32) {
        self.init(flags: CInt(truncatingIfNeeded: rawValue))
        guard self.rawValue == rawValue, rawValue & UInt32(O_ACCMODE) != UInt32(O_ACCMODE) else { return nil }
    }

    /// Whether the file may be read in this mode.
    package var isReadable: Bool { CInt(rawValue) & O_ACCMODE != O_WRONLY }
}

extension FileDescriptor {
    /// The access mode of this descriptor: fcntl(2), `F_GETFL`.
    ///
    /// - Throws: EBADF when this is not open.
    package func openMode() throws(SystemCallError) -> OpenMode {
        OpenMode(flags: try systemCall("fcntl") { cshims_fcntl(rawValue, F_GETFL, 0) })
    }

    /// The current path of the file that was opened: readlink(2) of /proc/self/fd. The path may lead to another file,
    /// or to none. If the file has no name any more, the path ends with " (deleted)".
    ///
    /// - Throws: ENOENT without /proc, ENAMETOOLONG.
    package func path() throws(SystemCallError) -> FilePath {
        let room = Int(PATH_MAX)
        var bytes = [CChar](repeating: 0, count: room)
        // SAFETY: readlink writes no more bytes than the array has, and the last byte stays 0.
        let count = try unsafe bytes.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
            try systemCall("readlink") { unsafe readlink("/proc/self/fd/\(rawValue)", buffer.baseAddress!, room - 1) }
        }
        guard count < room - 1 else { throw SystemCallError("readlink", .fileNameTooLong) }
        return unsafe bytes.withUnsafeBufferPointer { unsafe FilePath(platformString: $0.baseAddress!) }
    }

    /// Opens the same file again, through /proc/self/fd: an open file description of its own.
    ///
    /// - Throws: EACCES without the right, EROFS, EPERM when a seal forbids it, EMFILE, ENOENT without /proc.
    package func reopened(_ mode: OpenMode) throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("open") {
            unsafe Glibc.open("/proc/self/fd/\(rawValue)", CInt(mode.rawValue) | O_CLOEXEC)
        }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }
}

/// Finds the file that a path leads to, without opening it: open(2), `O_PATH`. A symbolic link at the end of the path
/// is not followed. This has no effect on a device or a pipe.
///
/// - Throws: ENOENT, EACCES, ENOTDIR, EMFILE and other errors of open(2).
package func findFile(_ path: FilePath) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") {
        unsafe path.withPlatformString { unsafe cshims_find_file($0) }
    }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Finds the file that a path leads to, without opening the file, and enters only the given mounts: openat2(2),
/// `O_PATH`. If a file system was mounted on the way after the mount table was read, it is not entered, and its server
/// is not asked.
///
/// - Parameters:
///   - path: an absolute path. Symbolic links are not followed.
///   - mounts: the mounts that the path leads through, in their order.
/// - Returns: a descriptor that only names the file.
/// - Throws: ELOOP for a symbolic link, EXDEV for another mount, ENOENT, EACCES, ENOTDIR, EMFILE; ENOSYS before Linux
///   5.6.
package func findFile(_ path: FilePath, through mounts: [Mount]) throws(SystemCallError) -> OwnedDescriptor {
    let bytes = path.bytes
    var place = try findFile("/")
    /// How many bytes of the path are walked. At first these are the root.
    var walked = 1
    for (index, mount) in mounts.enumerated() where mount.pointBytes.count > walked {
        // If several mounts have the same point, one step enters the last of them.
        if index + 1 < mounts.count, mounts[index + 1].pointBytes.count == mount.pointBytes.count { continue }
        place = try place.borrowed.enter(mount, bytes[walked..<mount.pointBytes.count].withoutSlash)
        walked = mount.pointBytes.count
    }
    let rest = bytes[min(walked, bytes.count)...].withoutSlash
    guard !rest.isEmpty else { return place }
    return try place.borrowed.find(rest, enteringMounts: false)
}

extension ArraySlice<UInt8> {
    /// The path without a leading slash: a relative path.
    fileprivate var withoutSlash: ArraySlice<UInt8> { first == UInt8(ascii: "/") ? dropFirst() : self }
}

extension FileDescriptor {
    /// Goes from this directory to a mount below it. `path` is the mount point, relative to this directory.
    fileprivate func enter(_ mount: Mount, _ path: ArraySlice<UInt8>) throws(SystemCallError) -> OwnedDescriptor {
        let root: OwnedDescriptor
        if let slash = path.lastIndex(of: UInt8(ascii: "/")) {
            let parent = try find(path[..<slash], enteringMounts: false)
            root = try parent.borrowed.find(path[slash...].dropFirst(), enteringMounts: true)
        } else {
            root = try find(path, enteringMounts: true)
        }
        // The files of a subvolume have another device number than their mount.
        let device = try FileStatus(cached: root.borrowed).identity.device
        guard device == mount.device || ["bcachefs", "btrfs"].contains(mount.type) else {
            throw SystemCallError("openat2", .improperLink)
        }
        return root
    }

    fileprivate func find(
        _ path: ArraySlice<UInt8>, enteringMounts: Bool
    ) throws(SystemCallError) -> OwnedDescriptor {
        let name = path.map { CChar(bitPattern: $0) } + [0]
        let number = try systemCall("openat2") {
            // SAFETY: the name ends with the NUL that was appended.
            unsafe name.withUnsafeBufferPointer {
                unsafe cshims_find_beneath(rawValue, $0.baseAddress!, enteringMounts ? 1 : 0)
            }
        }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }
}

/// Makes a file without a name on a directory's file system: open(2), `O_TMPFILE`. Its owner may read and write it.
///
/// - Throws: ENOENT, EACCES, EOPNOTSUPP where the file system does not support it, EMFILE.
package func makeFileWithoutName(in directory: FilePath) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") {
        unsafe directory.withPlatformString { unsafe cshims_make_file_without_name($0) }
    }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Makes a new file that this user may read and write: open(2), `O_CREAT | O_EXCL`.
///
/// - Throws: EEXIST, ENOENT, EACCES, EMFILE and other errors of open(2).
package func makeFile(_ path: FilePath) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") {
        unsafe path.withPlatformString { unsafe Glibc.open($0, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) }
    }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Gives a small file a new content: ``replaceFile(_:with:by:)`` by PATH.new.
///
/// - Throws: as ``replaceFile(_:with:by:)``.
package func replaceFile(_ path: String, with text: String) throws(SystemCallError) {
    try replaceFile(path, with: [UInt8](text.utf8), by: path + ".new")
}

/// Gives a file a new content. If that fails, or if the machine loses power, the file has all of the old content or all
/// of the new content: the content is written to another file and synchronized with the disk, and that file then gets
/// the name. The other file is always a new file of this user, so that no link and no pipe of another user is written
/// to.
///
/// - Parameters:
///   - path: the path of the file.
///   - bytes: the content.
///   - new: the path of the other file, in the same directory. The rest of an interrupted write is removed.
/// - Throws: ENOENT, EACCES, EEXIST, ENOSPC and other errors of open(2), write(2), fsync(2) and rename(2).
package func replaceFile(_ path: String, with bytes: [UInt8], by new: String) throws(SystemCallError) {
    try? removeFile(FilePath(new))
    let file = try makeFile(FilePath(new))
    try file.borrowed.writeWhole(bytes)
    try systemCall("fsync") { fsync(file.borrowed.rawValue) }
    try systemCall("rename") { unsafe rename(new, path) }
}

extension FileDescriptor {
    /// Gives a file its owner and its permissions: fchown(2), fchmod(2). Without the right to give the file away, the
    /// file stays with its owner. The permissions to execute a file that is sealed against their change (F_SEAL_EXEC)
    /// stay as they are.
    ///
    /// - Throws: EPERM when this process may not set the permissions.
    package func setRights(_ permissions: FilePermissions, owner: UInt32, group: UInt32) throws(SystemCallError) {
        _ = fchown(rawValue, owner, group)
        let executing: mode_t = 0o111
        var mode = permissions.rawValue
        if try seals().contains(.exec) {
            mode = mode & ~executing | (try FileStatus(of: self).permissions.rawValue & executing)
        }
        try systemCall("fchmod") { fchmod(rawValue, mode) }
    }
}

/// Removes a name, and also the file when it has no other name and no process has it open: unlink(2).
///
/// - Throws: ENOENT, EACCES, EISDIR.
package func removeFile(_ path: FilePath) throws(SystemCallError) {
    try systemCall("unlink") { unsafe path.withPlatformString { unsafe unlink($0) } }
}

extension FileDescriptor {
    /// Gives a name to a file that has none: linkat(2).
    ///
    /// - Throws: EEXIST when a file has that name.
    package func giveName(_ path: FilePath) throws(SystemCallError) {
        try systemCall("linkat") {
            unsafe path.withPlatformString { name in
                unsafe linkat(AT_FDCWD, "/proc/self/fd/\(rawValue)", AT_FDCWD, name, AT_SYMLINK_FOLLOW)
            }
        }
    }
}

/// Makes a directory with a new name, for this user alone: mkdtemp(3).
///
/// - Parameter beginning: the beginning of its path.
/// - Returns: its path.
/// - Throws: ENOENT, EACCES, ENOSPC and other errors of mkdir(2).
package func makeTemporaryDirectory(_ beginning: String) throws(SystemCallError) -> String {
    // mkdtemp(3) replaces six of these.
    let suffix = String(repeating: "X", count: 6)
    var name = [CChar]("\(beginning)-\(suffix)".utf8CString)
    guard unsafe mkdtemp(&name) != nil else { throw SystemCallError("mkdtemp", Errno(rawValue: errno)) }
    return String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// An absolute path to the same file. The path stays as it is if this process has no working directory.
package func absolutePath(_ path: String) -> String {
    guard !path.isEmpty, !path.hasPrefix("/"), let here = unsafe getcwd(nil, 0) else { return path }
    // SAFETY: getcwd(3) has allocated the string, which ends with a NUL.
    defer { unsafe free(here) }
    return unsafe String(cString: here) + "/" + path
}

extension FilePath {
    /// The bytes of the path, which need not be UTF-8.
    package var bytes: [UInt8] {
        // SAFETY: the string lives as long as the closure, and ends with a NUL.
        unsafe withPlatformString { name in unsafe [UInt8](UnsafeRawBufferPointer(start: name, count: strlen(name))) }
    }

    /// A path of these bytes, up to the first NUL.
    package init(bytes: [UInt8]) {
        let name = (bytes + [0]).map { CChar(bitPattern: $0) }
        // SAFETY: the array ends with the NUL that was appended.
        self = unsafe name.withUnsafeBufferPointer { unsafe FilePath(platformString: $0.baseAddress!) }
    }
}

extension FileDescriptor {
    /// Whether this descriptor was inherited over execve(2): it is open, and is not closed on exec. All descriptors
    /// that this package opens are closed on exec.
    package var isInherited: Bool { cshims_fcntl(rawValue, F_GETFD, 0) == 0 }
}

/// Finds the file that a path leads to, without opening it: open(2), `O_PATH`. Symbolic links are followed.
///
/// - Throws: ENOENT, EACCES, ENOTDIR, EMFILE and other errors of open(2).
package func findFileBehind(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe cshims_find_file_behind(path) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Opens the file that a path leads to. A regular file is opened read-only. Other files are only found (`O_PATH`),
/// because opening a device or a named pipe has effects.
///
/// - Throws: ENOENT, EACCES, EMFILE and other errors of open(2).
package func openToLook(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let found = try findFileBehind(path)
    guard try FileStatus(of: found.borrowed).isRegular else { return found }
    return try found.borrowed.reopenedForReading()
}
