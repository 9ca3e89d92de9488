import Foundation
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// A mount namespace with a /dev/shm of its own and no hugetlbfs: what a demo leaves there is found by no other one on
/// the machine, and goes when this goes. Only root can make one.
final class DemoRoom: Sendable {
    private let keeper: Program
    /// The pool of huge pages of 2 MiB when the room was made, or looked at last.
    private let pool: Guarded<HugePagePool>

    init() async throws {
        pool = Guarded(try HugePagePool(.huge2M))
        let script = "mount -t tmpfs none /dev/shm; umount -a -t hugetlbfs; exec sleep infinity"
        let keeper = try Program([
            "/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script,
        ])
        try await eventually("a room", within: 20) {
            try String(contentsOfFile: "/proc/\(keeper.process)/comm", encoding: .utf8) == "sleep\n"
        }
        self.keeper = keeper
    }

    // MARK: What runs in it

    /// What a command begins with that is to run in the room.
    var entrance: [String] { ["/usr/bin/nsenter", "--mount=/proc/\(keeper.process)/ns/mnt"] }

    /// Starts a demo of two small files, unless the arguments say otherwise.
    func start(_ arguments: [String]) throws -> Program {
        try Program(entrance + [Program.path("luoctl"), "demo", "--files", "2", "--size", "2M", "--json"] + arguments)
    }

    func demo(_ arguments: [String] = []) async throws -> Ended { try await start(arguments).ended() }

    /// A demo that exits 0, or is to exit otherwise.
    func report(_ arguments: [String] = [], status: CInt = 0) async throws -> DemoOutput {
        let ended = try await demo(arguments)
        #expect(ended.status == status, "\(ended)")
        let report = try ended.json(DemoOutput.self)
        #expect(report.held == (status == 0), "\(ended)")
        return report
    }

    func shell(_ script: String) async throws -> Ended { try await run(entrance + ["/bin/sh", "-c", script]) }

    /// How many stores into its arena a demo makes.
    func stores(_ arguments: [String] = []) async throws -> Int {
        let ended = try await run(
            entrance + [Program.path("luoctl"), "demo", "--files", "2", "--size", "2M", "--kill-after", "1000000"]
                + arguments)
        let line = try #require(ended.lines.last { $0.hasPrefix("not killed: all of it took ") }, "\(ended)")
        return try #require(line.split(separator: " ").lazy.compactMap { Int($0) }.first)
    }

    /// Leaves a demo on hugetlbfs that was killed when it had preserved both files, or in the boot that got them.
    func leaveKilledDemo(afterUpdate: Bool = false, _ arguments: [String] = []) async throws {
        let options = ["--hugetlbfs", "--no-reserve"] + arguments
        let stores = try await stores(options)
        let killed = try await demo(options + ["--kill-after", "\(stores * (afterUpdate ? 70 : 47) / 100)"])
        #expect(killed.status == nil, "\(killed)")
    }

    // MARK: What is in it

    /// Where the room's files are for those outside.
    private func outside(_ path: String) -> String { "/proc/\(keeper.process)/root\(path)" }

    /// What is in its /dev/shm and on its hugetlbfs, by the names in the room.
    func files(_ suffix: String = "") throws -> [String] {
        var found: [String] = []
        for directory in try ["/dev/shm"] + mounts {
            // An enumerator stays on one file system.
            let names = FileManager.default.enumerator(atPath: outside(directory))?.allObjects ?? []
            found += names.compactMap { $0 as? String }.map { "\(directory)/\($0)" }
        }
        return found.filter { $0.hasSuffix(suffix) }.sorted()
    }

    /// The only file of that suffix, as those outside name it.
    func file(_ suffix: String) throws -> String {
        let found = try files(suffix)
        #expect(found.count == 1, "\(suffix): \(found)")
        return outside(try #require(found.first))
    }

    var mounts: [String] {
        get throws {
            let lines = try String(contentsOfFile: "/proc/\(keeper.process)/mounts", encoding: .utf8)
                .split(separator: "\n")
            return lines.compactMap { line -> String? in
                let fields = line.split(separator: " ")
                return fields[2] == "hugetlbfs" ? String(fields[1]) : nil
            }
        }
    }

    /// Who runs in it, besides what keeps it.
    var processes: [pid_t] {
        get throws {
            func room(_ process: pid_t) -> String? {
                try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/ns/mnt")
            }
            return try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }
                .filter { $0 != keeper.process && room($0) == room(keeper.process) }
        }
    }

    /// The processes that hold reserved pages.
    var guards: [pid_t] {
        get throws {
            try processes.filter { process in
                let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
                return line?.contains("pool-guard") == true
            }
        }
    }

    /// No process, file or mount, besides those that the test has made, and the pool as it was.
    func expectNothingLeft(mounts expected: [String] = []) async throws {
        try await eventually("the end of all processes", within: 20) { try processes.isEmpty }
        #expect(try files() == [])
        #expect(try mounts == expected)
        try await eventually("a pool as before", within: 20) {
            let now = try HugePagePool(.huge2M)
            return pool.with { now.persistent == $0.persistent && now.overcommit == $0.overcommit }
        }
        let now = try HugePagePool(.huge2M)
        pool.with { $0 = now }
    }
}

/// What `luoctl demo --json` prints.
struct DemoOutput: Decodable {
    struct File: Decodable {
        let token: UInt64
        let order: Int
        let path: String?
    }
    struct Recovered: Decodable {
        let run: String
        let updates: Int
        let atItsEnd: Bool
        let files: Int
        let whole: [UInt64]
        let gone: [UInt64]
        let givenBack: Int
        let faults: [String]
    }
    let held: Bool
    let updates: Int
    let reservedPages: Int
    let files: [File]
    let sabotage: String?
    let recovered: [Recovered]
    let faults: [String]
    let leftOut: [String]
}
