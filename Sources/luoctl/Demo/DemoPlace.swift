// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// The paths of the files that outlive the processes of a run: its arena and its notes, on tmpfs.
///
/// 1. The arena is created first, and is locked while the run goes on. An arena without a lock is therefore left over
///    from a run that was killed.
/// 2. The arena is also removed first. Any run may therefore remove files that have no arena.
/// 3. Only the notes about reserved pages do not depend on the arena (`HugePageLoan`). They are never
///    removed unread.
struct DemoPlace {
    private static let variable = "LUO_DEMO_RUN"

    let directory: FilePath
    /// The name of the run.
    let run: String

    /// The place of this run: a new one in its first boot.
    static func current() throws -> DemoPlace {
        let directory = try makeDirectory()
        if let run = environmentVariable(variable) { return DemoPlace(directory: directory, run: run) }
        let run = "\(getpid())-\(monotonicNanoseconds())"
        unsafe setenv(variable, run, 1)
        return DemoPlace(directory: directory, run: run)
    }

    /// Makes the directory for this user only: a process that could write to an arena could change the preserved state.
    private static func makeDirectory(tries: Int = 100) throws -> FilePath {
        let path = FilePath("/dev/shm/luoctl-demo-\(geteuid())")
        _ = unsafe mkdir(path.string, 0o700)
        let found: FileStatus
        do throws(SystemCallError) {
            let directory = try findFile(path)
            found = try FileStatus(of: directory.borrowed)
        } catch {
            // Another run was the last one in the directory, and has just removed it.
            if error.errno == .noSuchFileOrDirectory, tries > 0, unsafe access("/dev/shm", W_OK) == 0 {
                return try makeDirectory(tries: tries - 1)
            }
            throw Exit.unavailable("the demo needs \(path) for what outlives it: \(error); mount a tmpfs on /dev/shm")
        }
        guard found.isDirectory, found.isOursAlone else {
            throw Exit.failed("\(path) is not a directory that only this user may write to: remove it")
        }
        return path
    }

    var arena: FilePath { file("arena") }
    var notes: FilePath { file("notes") }
    /// Notes that are not complete yet.
    var newNotes: FilePath { file("notes.new") }
    var frames: FilePath { file("frames") }
    /// The mount point of a hugetlbfs of the run's own, if none is mounted.
    var mountPoint: FilePath { file("hugetlbfs") }
    /// The notes about the pages that were taken from the huge page pools.
    var reserved: FilePath { file("reserved") }
    var overcommitted: FilePath { file("overcommitted") }

    private func file(_ kind: String) -> FilePath { directory.appending("\(run).\(kind)") }

    /// The path of a file on hugetlbfs.
    func hugeFile(in mount: FilePath, token: UInt64) -> FilePath { mount.appending("\(hugeFilePrefix)\(token)") }

    private var hugeFilePrefix: String { "luoctl-demo-\(run)-" }

    /// The other runs of this user: the ones that go on, and the ones that left files.
    var others: [DemoPlace] {
        let runs = Set(Self.names(in: directory).compactMap { $0.split(separator: ".").first.map(String.init) })
        return runs.subtracting([run]).sorted().map { DemoPlace(directory: directory, run: $0) }
    }

    private static func names(in directory: FilePath) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: directory.string)) ?? []
    }

    private var hugeFiles: [FilePath] {
        ((try? HugePageMount.all()) ?? []).flatMap { mount in
            Self.names(in: mount).filter { $0.hasPrefix(hugeFilePrefix) }.map { mount.appending($0) }
        }
    }

    /// Removes all files of the run except the notes about the pools, and the directory if nothing else is in it.
    func remove() {
        try? removeFile(arena)
        for path in hugeFiles + [notes, newNotes, frames] { try? removeFile(path) }
        HugePageMount.remove(mountPoint)
        PoolGuard.removeDirectory(of: arena)
    }

    /// The shell commands that do the same as ``remove()``.
    var removal: String {
        let files = Self.names(in: directory).filter { $0.hasPrefix("\(run).") }.map { directory.appending($0) }
        let names = (hugeFiles + files.filter { $0 != mountPoint }).map(\.string)
        let unmounting = files.contains(mountPoint) ? "; umount \(mountPoint); rmdir \(mountPoint)" : ""
        return (["rm -r"] + names).joined(separator: " ") + unmounting
    }
}
