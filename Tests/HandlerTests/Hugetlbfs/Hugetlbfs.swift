// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A hugetlbfs of 2 MiB pages that only the calling thread sees. It is for tests in a process of their own.
struct Hugetlbfs {
    let directory: FilePath

    init() throws {
        directory = try MountNamespace.enter().appending("huge")
        try MountNamespace.mount("hugetlbfs", at: directory, "pagesize=2M")
    }

    /// Makes a file in which some pages exist, and returns its path, too.
    func make(
        _ name: String = "guest", pages: [UInt64] = [0, 2], of count: UInt64 = 3
    ) throws -> (file: TestFile, path: FilePath) {
        let path = directory.appending(name)
        let file = try TestFile(opening: path, O_RDWR | O_CREAT)
        try file.descriptor.setSize(count << 21)
        for page in pages { try file.fill(page: page, .huge2M) }
        return (file, path)
    }
}

extension TestFile {
    /// Opens a file by its name.
    convenience init(opening path: FilePath, _ flags: CInt) throws {
        let number = unsafe path.withPlatformString { unsafe open($0, flags | O_CLOEXEC, 0o600) }
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: Glibc.errno)) }
        self.init(taking: FileDescriptor(rawValue: number))
    }

    /// The access mode and O_APPEND.
    var mode: CInt { fcntl(descriptor.rawValue, F_GETFL) & (O_ACCMODE | O_APPEND) }
}

extension StandardBoot {
    /// Preserves a file as token 1 of the session "s".
    func preserve(_ file: TestFile) throws {
        try orchestrator.createSession("s").preserve(file.descriptor, token: 1)
    }
}

/// Renames, links and removes files.
func rename(_ path: FilePath, to place: FilePath) throws {
    let result = unsafe path.withPlatformString { from in
        unsafe place.withPlatformString { to in unsafe Glibc.rename(from, to) }
    }
    if result != 0 { throw SystemCallError("rename", Errno(rawValue: Glibc.errno)) }
}

func link(_ path: FilePath, to place: FilePath) throws {
    let result = unsafe path.withPlatformString { from in
        unsafe place.withPlatformString { to in unsafe Glibc.link(from, to) }
    }
    if result != 0 { throw SystemCallError("link", Errno(rawValue: Glibc.errno)) }
}

func remove(_ path: FilePath) throws {
    let result = unsafe path.withPlatformString { unsafe unlink($0) }
    if result != 0 { throw SystemCallError("unlink", Errno(rawValue: Glibc.errno)) }
}
