// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport

/// A change to a file's name or size, and its repair.
enum Mishap: String, CaseIterable, Codable, Sendable {
    case renamed, directoryRenamed, replaced, removed, unmounted, anotherMount, anotherKindOfMount, anotherSize

    /// The expected parts of an error: errno, reason and remedy.
    struct Answer {
        let errno: Errno
        let reason: String
        let remedy: String
    }

    /// A place with a file for a mishap.
    struct Scene {
        let file: TestFile
        let path: FilePath
        fileprivate let mounted: FilePath
        fileprivate let aside: FilePath

        init() throws {
            let hugetlbfs = try Hugetlbfs()
            mounted = hugetlbfs.directory
            // The file system stays when it is unmounted, because it is also mounted here.
            aside = mounted.removingLastComponent().appending("aside")
            _ = unsafe aside.withPlatformString { unsafe mkdir($0, 0o755) }
            try MountNamespace.bind(mounted, to: aside)
            let directory = mounted.appending("directory")
            _ = unsafe directory.withPlatformString { unsafe mkdir($0, 0o755) }
            (file, path) = try hugetlbfs.make("directory/guest")
        }

        fileprivate var directory: FilePath { path.removingLastComponent() }
        fileprivate var other: FilePath { directory.appending("other") }
        fileprivate var otherDirectory: FilePath { mounted.appending("elsewhere") }
    }

    func happen(to scene: Scene) throws {
        switch self {
        case .renamed: try rename(scene.path, to: scene.other)
        case .directoryRenamed: try rename(scene.directory, to: scene.otherDirectory)
        case .replaced:
            try rename(scene.path, to: scene.other)
            _ = try TestFile(opening: scene.path, O_RDWR | O_CREAT)
        case .removed: try remove(scene.path)
        case .unmounted: try MountNamespace.unmount(scene.mounted)
        case .anotherMount:
            try MountNamespace.mount("hugetlbfs", at: scene.mounted, "pagesize=2M")
            try cover(scene)
        case .anotherKindOfMount:
            try MountNamespace.mount("tmpfs", at: scene.mounted)
            try cover(scene)
        case .anotherSize: try resize(scene.path, 4)
        }
    }

    /// Makes another file of the same name and size on the file system that was mounted over it.
    private func cover(_ scene: Scene) throws {
        _ = unsafe scene.directory.withPlatformString { unsafe mkdir($0, 0o755) }
        try resize(scene.path, 3)
    }

    private func resize(_ path: FilePath, _ pages: UInt64) throws {
        let file = try TestFile(opening: path, O_RDWR | O_CREAT)
        try file.descriptor.setSize(pages << 21)
    }

    /// Repairs the mishap.
    ///
    /// - Returns: whether a repair is possible.
    func mend(_ scene: Scene) throws -> Bool {
        switch self {
        case .renamed, .replaced: try rename(scene.other, to: scene.path)
        case .directoryRenamed: try rename(scene.otherDirectory, to: scene.directory)
        case .removed: return false
        case .unmounted: try MountNamespace.bind(scene.aside, to: scene.mounted)
        case .anotherMount, .anotherKindOfMount: try MountNamespace.unmount(scene.mounted)
        case .anotherSize: try resize(scene.path, 3)
        }
        return true
    }

    /// The expected error while a process has the file open.
    func answerWhileOpen(_ scene: Scene) -> Answer {
        let unreachable = "something was unmounted or mounted over it since: open it by a path that leads to it here"
        return switch self {
        case .renamed: answer(scene, "it is named \(scene.other) now: rename it back")
        case .directoryRenamed: answer(scene, "it is named \(scene.otherDirectory)/guest now: rename it back")
        case .replaced: answer(scene, "it is named \(scene.other) now: rename it back")
        case .removed: answer(scene, "it was removed, and lives in its descriptors only")
        case .unmounted, .anotherMount, .anotherKindOfMount: answer(scene, unreachable)
        case .anotherSize:
            Answer(
                errno: .staleNFSFileHandle, reason: "token 1 has \(4 << 21) bytes, and had \(3 << 21)",
                remedy: "set its size back")
        }
    }

    /// The expected error when no process has the file open.
    func answerAfterDeath(_ scene: Scene) -> Answer {
        switch self {
        case .renamed, .removed: answer(scene, "was it renamed or removed? Give it its name back")
        case .directoryRenamed: answer(scene, "or the directory renamed? Undo that")
        case .replaced: answer(scene, "Move the one that was preserved back")
        case .unmounted, .anotherKindOfMount: answer(scene, "was the file system unmounted")
        case .anotherMount: answer(scene, "mount the one that has the file")
        case .anotherSize: answer(scene, "set its size back")
        }
    }

    private func answer(_ scene: Scene, _ remedy: String) -> Answer {
        let (errno, reason): (Errno, String) =
            switch self {
            case .renamed, .removed: (.noSuchFileOrDirectory, "nothing is named \(scene.path)")
            case .directoryRenamed, .unmounted, .anotherKindOfMount:
                (.noSuchFileOrDirectory, "there is no \(scene.path), nor hugetlbfs where it was")
            case .replaced: (.staleNFSFileHandle, "\(scene.path): it is another file of that name: inode")
            case .anotherMount: (.staleNFSFileHandle, "\(scene.path): it is on device")
            case .anotherSize: (.staleNFSFileHandle, "\(scene.path): it has \(4 << 21) bytes, and had \(3 << 21)")
            }
        return Answer(errno: errno, reason: reason, remedy: remedy)
    }
}
