import FoundationEssentials
import Glibc
import Platform
import SystemPackage

/// Where a run of the demo has what must be there when all its processes have died: its arena and its notes, on tmpfs.
///
/// The arena is made first, and is locked while the run goes on: an arena that nobody has locked is left over from a run
/// that was killed. It is removed first, too: what is there without an arena, anybody may remove. Only what was reserved
/// is noted for itself (``Platform/HugePageLoan``), and is never removed unread.
struct DemoPlace {
    private static let variable = "LUO_DEMO_RUN"

    let directory: FilePath
    /// Names the run.
    let run: String

    /// The place of this run: a new one in its first boot.
    static func current() throws -> DemoPlace {
        let directory = try makeDirectory()
        if let run = environmentVariable(variable) { return DemoPlace(directory: directory, run: run) }
        let run = "\(getpid())-\(monotonicNanoseconds())"
        unsafe setenv(variable, run, 1)
        return DemoPlace(directory: directory, run: run)
    }

    /// For this user only: whoever could write to an arena could change what is kept.
    private static func makeDirectory(tries: Int = 100) throws -> FilePath {
        let path = FilePath("/dev/shm/luoctl-demo-\(geteuid())")
        _ = unsafe mkdir(path.string, 0o700)
        let found: FileStatus
        do throws(SystemCallError) {
            let directory = try findFile(path)
            found = try FileStatus(of: directory.borrowed)
        } catch {
            // Another run, which was the last in it, has just removed it.
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
    /// Notes that are not whole yet.
    var newNotes: FilePath { file("notes.new") }
    var frames: FilePath { file("frames") }
    /// For a hugetlbfs of its own, where none is mounted.
    var mountPoint: FilePath { file("hugetlbfs") }
    /// What was taken of the huge page pools.
    var reserved: FilePath { file("reserved") }
    var overcommitted: FilePath { file("overcommitted") }

    private func file(_ kind: String) -> FilePath { directory.appending("\(run).\(kind)") }

    /// A file on hugetlbfs.
    func hugeFile(in mount: FilePath, token: UInt64) -> FilePath { mount.appending("\(hugeFilePrefix)\(token)") }

    private var hugeFilePrefix: String { "luoctl-demo-\(run)-" }

    /// The runs of this user that are not this one: those that go on, and those that left something.
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

    /// Removes everything of the run but what is noted about the pools, and the directory when nothing else is in it.
    func remove() {
        try? removeFile(arena)
        for path in hugeFiles + [notes, newNotes, frames] { try? removeFile(path) }
        HugePageMount.remove(mountPoint)
        Self.removeDirectory(of: arena)
    }

    /// Removes the directory that a file was in, if it was the last.
    static func removeDirectory(of file: FilePath) { _ = unsafe rmdir(file.removingLastComponent().string) }

    /// The commands that do what ``remove()`` does.
    var removal: String {
        let files = Self.names(in: directory).filter { $0.hasPrefix("\(run).") }.map { directory.appending($0) }
        let names = (hugeFiles + files.filter { $0 != mountPoint }).map(\.string)
        let unmounting = files.contains(mountPoint) ? "; umount \(mountPoint); rmdir \(mountPoint)" : ""
        return (["rm -r"] + names).joined(separator: " ") + unmounting
    }
}
