// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdatePlatform
import SystemPackage

/// A tmpfs of a few pages. It is unmounted as soon as it is open, so that it ends with the test in every case. Only
/// root can make one.
package final class SmallFileSystem {
    private let root: OwnedDescriptor

    /// Makes an empty file system. Its files can have at most `size` bytes together.
    package init(size: Int) throws {
        let place = try TemporaryDirectory()
        let folder = place.path
        try Self.check("mount", unsafe mount("tmpfs", folder, "tmpfs", 0, "size=\(size),mode=700"))
        defer { unsafe umount2(folder, CInt(MNT_DETACH)) }
        let opened = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        try Self.check("open", opened)
        root = OwnedDescriptor(taking: FileDescriptor(rawValue: opened))
    }

    private static func check(_ call: StaticString, _ result: CInt) throws {
        if result == -1 { throw SystemCallError(call, Errno(rawValue: Glibc.errno)) }
    }

    /// Makes an empty file on it, and removes the file's name.
    package func makeFile() throws -> OwnedDescriptor {
        let number = unsafe openat(root.borrowed.rawValue, "file", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        try Self.check("openat", number)
        unsafe unlinkat(root.borrowed.rawValue, "file", 0)
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// Takes the free room except `rest` bytes, until the result is dropped.
    package func fill(leaving rest: Int = 0) throws -> Ballast {
        let ballast = Ballast(try makeFile())
        try ballast.shrink(by: rest)
        return ballast
    }

    /// A file that takes the free room.
    package final class Ballast {
        private let file: OwnedDescriptor

        private var size: UInt64 = 0

        fileprivate init(_ file: consuming OwnedDescriptor) {
            self.file = file
            while (try? self.file.borrowed.allocate(offset: size, length: 4096)) != nil { size += 4096 }
        }

        fileprivate func shrink(by rest: Int) throws { try file.borrowed.setSize(size - min(size, UInt64(rest))) }

        /// Frees the room.
        package func drop() throws { try file.borrowed.setSize(0) }
    }
}
