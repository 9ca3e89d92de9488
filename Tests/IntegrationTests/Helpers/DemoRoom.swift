// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A mount namespace with its own /dev/shm and no hugetlbfs. No other demo on the machine finds the remains of a demo
/// there, and they disappear with this object. Only root can make one.
final class DemoRoom: Sendable {
    private let keeper: Program
    /// The pool of huge pages of 2 MiB when the room was made, or when it was last checked.
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

    // MARK: Programs in the room

    /// The first words of a command that runs in the room.
    var entrance: [String] { ["/usr/bin/nsenter", "--mount=/proc/\(keeper.process)/ns/mnt"] }

    /// Starts a demo of two small files, unless the arguments say otherwise.
    func start(_ arguments: [String]) throws -> Program {
        try Program(entrance + [Program.path("luoctl"), "demo", "--files", "2", "--size", "2M", "--json"] + arguments)
    }

    func demo(_ arguments: [String] = []) async throws -> Ended { try await start(arguments).ended() }

    /// Runs a demo, and checks its exit code.
    func report(_ arguments: [String] = [], status: CInt = 0) async throws -> DemoOutput {
        let ended = try await demo(arguments)
        #expect(ended.status == status, "\(ended)")
        let report = try ended.json(DemoOutput.self)
        #expect(report.held == (status == 0), "\(ended)")
        return report
    }

    func shell(_ script: String) async throws -> Ended { try await run(entrance + ["/bin/sh", "-c", script]) }

    /// The number of stores into its arena that a demo makes.
    func stores(_ arguments: [String] = []) async throws -> Int {
        let ended = try await run(
            entrance + [Program.path("luoctl"), "demo", "--files", "2", "--size", "2M", "--kill-after", "1000000"]
                + arguments)
        let line = try #require(ended.lines.last { $0.hasPrefix("not killed: all of it took ") }, "\(ended)")
        return try #require(line.split(separator: " ").lazy.compactMap { Int($0) }.first)
    }

    /// Leaves a demo on hugetlbfs that was killed after it had preserved both files, or in the boot after the update.
    func leaveKilledDemo(afterUpdate: Bool = false, _ arguments: [String] = []) async throws {
        let options = ["--hugetlbfs", "--no-reserve"] + arguments
        let stores = try await stores(options)
        let killed = try await demo(options + ["--kill-after", "\(stores * (afterUpdate ? 70 : 47) / 100)"])
        #expect(killed.status == nil, "\(killed)")
    }

    // MARK: Content of the room

    /// The path of a file in the room, for processes outside.
    private func outside(_ path: String) -> String { "/proc/\(keeper.process)/root\(path)" }

    /// The files in the room's /dev/shm and on its hugetlbfs, by their names in the room.
    func files(_ suffix: String = "") throws -> [String] {
        var found: [String] = []
        for directory in try ["/dev/shm"] + mounts {
            // An enumerator stays on one file system.
            let names = FileManager.default.enumerator(atPath: outside(directory))?.allObjects ?? []
            found += names.compactMap { $0 as? String }.map { "\(directory)/\($0)" }
        }
        return found.filter { $0.hasSuffix(suffix) }.sorted()
    }

    /// The path of the only file with that suffix, for processes outside.
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

    /// The processes in the room, without the one that keeps it.
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

    /// Checks that no process, file or mount is left, except mounts of the test, and that the pool is unchanged.
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

/// The output of `luoctl demo --json`.
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
