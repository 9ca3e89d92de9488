// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateBenchReport
import LiveUpdatePlatform
import TestSupport
import Testing

/// `luoctl bench` as a process. The tests check which measurements exist, not their values.
@Suite struct BenchTests {
    @Test func theDocumentHasWhatWasAskedFor() async throws {
        let ended = try await luoctl("bench", "files", "sessions", "memfd", "--quick", "--json", "--max-memory", "64M")
        #expect(ended.status == 0, "\(ended)")
        let document = try ended.json(BenchDocument.self)
        #expect(document.schema == BenchDocument.currentSchema)
        #expect(Set(document.measurements.map(\.scenario)) == ["files", "sessions", "memfd"])
        #expect(
            document.command == [
                "luoctl", "bench", "files", "sessions", "memfd", "--quick", "--json", "--max-memory", "64M",
            ])
        #expect(document.machine.processors > 0 && document.machine.memory > 0 && document.machine.load.count == 3)
        #expect(document.absent.isEmpty)
        let dense = document.measurements.filter { $0.scenario == "memfd" && $0.parameters["holes"] == 0 }
        let phases = ["preserve", "freeze", "publish", "boot", "retrieve", "finish", "unpreserve"]
        #expect(Set(dense.map(\.name)) == Set(phases))
        #expect(dense.allSatisfy { $0.floor != nil && $0.floorName != nil })
        // The kernel's counters show that no content was read or written.
        for measurement in document.measurements where measurement.scenario == "memfd" && measurement.name != "freeze" {
            #expect(measurement.counted["content bytes read"] == 0, "\(measurement)")
            #expect(measurement.counted["content bytes written"] == 0, "\(measurement)")
        }
    }

    @Test("The cost of luoctl run: an open and two calls, in notifications", .requiresRoot) func callsOfAProgram()
        async throws
    {
        let ended = try await luoctl("bench", "run", "--quick", "--json")
        #expect(ended.status == 0, "\(ended)")
        let measurements = try ended.json(BenchDocument.self).measurements
        let names = ["another file's open", "GET_NAME", "PRESERVE_FD", "GET_NAME, to C that goes the same way"]
        let processors = Processors.allowed.count
        let groups = Dictionary(grouping: measurements) { $0.parameters["processors"] }
        #expect(Set(groups.keys) == [1, UInt64(processors)])
        for group in groups.values { #expect(group.map(\.name) == names) }
        for measurement in measurements where measurement.name != names[3] {
            #expect(measurement.scenario == "run" && measurement.ratioLimit != nil)
            // Each call needs at least one notification.
            #expect(try measurement.ours.median > #require(measurement.floor).minimum, "\(measurement)")
        }
    }

    @Test func theBlackoutHasItsParts() async throws {
        let ended = try await luoctl("bench", "update", "--quick", "--json", "--max-memory", "64M", "--check-limits")
        let document = try ended.json(BenchDocument.self)
        let missed = document.targets.filter { !$0.isMet }
        #expect(ended.status == (missed.isEmpty ? 0 : 1), "\(ended)")
        #expect(missed.allSatisfy { ended.errors.contains($0.name) }, "\(ended.errors)")
        for files in [1, 253, 1000] as [UInt64] {
            let measured = document.measurements.filter { $0.parameters["files"] == files }
            let medians = Dictionary(measured.map { ($0.name, $0.ours.minimum) }) { first, _ in first }
            let parts = ["freeze", "publish", "execve", "boot", "answer"].compactMap { medians[$0] }
            #expect(parts.count == 5)
            let blackout = try #require(medians["blackout"])
            #expect(parts.reduce(0, +) <= blackout, "\(measured)")
            #expect(measured.contains { $0.name == "cycle" && $0.ratio != nil && $0.ratioLimit == 1.5 })
            #expect(measured.contains { $0.name == "hand-over: blackout" && $0.ratio != nil && $0.ratioLimit == 0.3 })
        }
        // Each ratio with a limit is a target.
        #expect(document.targets.count == (geteuid() == 0 ? 16 : 6), "\(document.targets)")
        guard geteuid() == 0 else { return #expect(document.absent.map(\.name) == ["luod"]) }
        for files in [1, 253, 1000] as [UInt64] {
            for (kind, limit) in [("luod", 1.5), ("luod, loaded", 0.3)] {
                func one(_ name: String) -> BenchMeasurement? {
                    document.measurements.first { $0.name == "\(kind): \(name)" && $0.parameters["files"] == files }
                }
                let blackout = try #require(one("blackout"))
                #expect(blackout.floor != nil && blackout.ratioLimit == limit)
                let parts = ["publish", "take over", "switch", "answer"].compactMap { one($0)?.ours.minimum }
                #expect(parts.count == 4 && parts.reduce(0, +) <= blackout.ours.minimum)
            }
        }
        let kept = document.measurements.filter { $0.name == "luod: preserve" }
        #expect(kept.map { $0.parameters["files"] } == [10, 1000])
        #expect(kept.allSatisfy { $0.ratioLimit == 6 && ($0.counted["resident bytes"] ?? 0) > 1e6 })
    }

    @Test func whatIsNotHereIsNamed() async throws {
        let bench = [Program.path("luoctl"), "bench", "compare", "--quick", "--json", "--max-memory", "64M"]
        let ended = try await run(["/usr/bin/env", "PATH=/nonexistent"] + bench)
        #expect(ended.status == 0, "\(ended)")
        let absent = try ended.json(BenchDocument.self).absent
        for name in ["systemd store", "criu"] {
            let one = try #require(absent.first { $0.name == name })
            #expect(one.scenario == "compare" && !one.reason.isEmpty && one.remedy.contains("install"))
        }
    }

    @Test func anEarlierRunIsComparedWith() async throws {
        let directory = try TemporaryDirectory()
        let first = try await luoctl("bench", "sessions", "--quick", "--json")
        let (same, faster) = (directory.file("same.json"), directory.file("faster.json"))
        try Data(first.output.utf8).write(to: URL(fileURLWithPath: same))
        var document = try first.json(BenchDocument.self)
        for index in document.measurements.indices { document.measurements[index].ours = BenchDistribution([0.001]) }
        document.warnings = ["a\u{1B}[31mb"]
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        try encoder.encode(document).write(to: URL(fileURLWithPath: faster))
        document.measurements = []
        let other = directory.file("other.json")
        try encoder.encode(document).write(to: URL(fileURLWithPath: other))

        let bench = ["bench", "sessions", "--quick", "--tolerance", "1000000", "--html", directory.file("page.html")]
        let unchanged = try await run([Program.path("luoctl")] + bench + ["--against", same])
        #expect(unchanged.status == 0, "\(unchanged)")
        #expect(unchanged.output.hasPrefix(Headline(try first.json(BenchDocument.self)).text), "\(unchanged)")
        let worse = try await run([Program.path("luoctl")] + bench + ["--against", faster])
        #expect(worse.status == 1 && worse.errors.contains("slower than before"), "\(worse)")
        #expect(worse.output.contains("a\\u{1b}[31mb"), "\(worse)")
        let different = try await run([Program.path("luoctl")] + bench + ["--against", other])
        #expect(different.status == 1 && different.errors.contains("nothing of it"), "\(different)")
        #expect(try String(contentsOfFile: directory.file("page.html"), encoding: .utf8).contains("<svg"))
    }

    @Test("A page is written into the named file, and does not replace it") func pageThroughLinks() async throws {
        let directory = try TemporaryDirectory()
        let page = directory.file("page.html")
        try Data(repeating: 0x20, count: 1 << 20).write(to: URL(fileURLWithPath: page))
        for (link, place) in [("link", page), ("full", "/dev/full")] {
            try FileManager.default.createSymbolicLink(atPath: directory.file(link), withDestinationPath: place)
        }
        let ended = try await luoctl("bench", "sessions", "--quick", "--html", directory.file("link"))
        #expect(ended.status == 0, "\(ended)")
        let text = try String(contentsOfFile: page, encoding: .utf8)
        #expect(text.hasPrefix("<!DOCTYPE html>") && text.hasSuffix("</html>\n"))
        let full = try await luoctl("bench", "sessions", "--quick", "--html", directory.file("full"))
        #expect(full.status == 1 && full.errors.contains("could not be written: No space left"), "\(full)")
    }

    @Test("Files that would be smaller than a page are named, and not tried") func smallFiles() async throws {
        let ended = try await luoctl("bench", "hugetlb", "--max-memory", "64M", "--json")
        #expect(ended.status == 0, "\(ended)")
        let absent = try ended.json(BenchDocument.self).absent
        for name in ["64 files", "512 files"] {
            #expect(absent.contains { $0.name == name && $0.remedy.contains("--max-memory") }, "\(absent)")
        }
        #expect(!absent.contains { $0.reason.contains("Invalid argument") }, "\(absent)")
    }

    @Test("A failed step is named, and does not affect the next steps") func failedSteps() async throws {
        let bench = "exec \(Program.path("luoctl")) bench --quick --json --max-memory 64M"
        let files = try await run(["/bin/sh", "-c", "ulimit -n 1024; \(bench) files update"])
        #expect(files.status == 0, "\(files)")
        let absent = try files.json(BenchDocument.self).absent
        #expect(absent.contains { $0.scenario == "files" && $0.remedy.contains("LimitNOFILE") }, "\(absent)")
        #expect(!absent.contains { $0.name == "253 files" }, "\(absent)")
        // The arena of this step has no room.
        let sessions = try await run(["/bin/sh", "-c", "ulimit -v 900000; \(bench) sessions"])
        #expect(sessions.status == 0, "\(sessions)")
        #expect(try sessions.json(BenchDocument.self).absent.map(\.scenario) == ["sessions"])
    }

    @Test("Two benchmarks at once take each other's pages, and report it", .requiresRoot, .requiresPoolRights())
    func twoAtOnce() async throws {
        let bench = [Program.path("luoctl"), "bench", "hugetlb", "--quick", "--json"]
        let programs = try (0..<2).map { _ in try Program(bench) }
        for program in programs {
            let ended = try await program.ended()
            #expect(ended.status == 0, "\(ended)")
        }
    }

    @Test("When luoctl is killed, a running CRIU ends with it", .requiresRoot)
    func killedWhileCRIUWorks() async throws {
        // The dumping process has its own /dev/shm.
        let directory = try TemporaryDirectory(in: "/tmp")
        let criu = directory.file("criu")
        // This fake of CRIU never ends a dump.
        try Data("#!/bin/sh\n[ $1 = check ] || exec sleep 1000\n".utf8).write(to: URL(fileURLWithPath: criu))
        unsafe chmod(criu, 0o755)
        let path = "PATH=\(URL(fileURLWithPath: criu).deletingLastPathComponent().path):/usr/bin:/bin"
        let bench = try Program(
            ["/usr/bin/env", path, Program.path("luoctl"), "bench", "compare", "--quick", "--max-memory", "64M"])
        func running(_ word: String) throws -> Bool {
            try FileManager.default.contentsOfDirectory(atPath: "/proc").contains { process in
                let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
                return line?.contains(word) == true
            }
        }
        try await eventually("the process for CRIU", within: 60) {
            try running("hold\0\(64 << 20)") || bench.hasEnded
        }
        if bench.hasEnded { Issue.record("nothing was dumped: \(try await bench.ended())") }
        bench.kill()
        withExtendedLifetime(directory) {}
        try await eventually("its end", within: 20) { try !running("hold\0\(64 << 20)") }
        #expect(!FileManager.default.fileExists(atPath: "/dev/shm/luoctl-bench-criu-\(bench.process)"))
    }

    @Test func whatIsNoEarlierRun() async throws {
        let directory = try TemporaryDirectory()
        for (name, text, reason) in [
            ("garbage", "no JSON", "is not what luoctl bench --json prints"), ("other", #"{"schema": "x-9"}"#, "x-9"),
        ] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: directory.file(name)))
            let ended = try await luoctl("bench", "sessions", "--against", directory.file(name))
            #expect(ended.status == 64 && ended.errors.contains(reason), "\(ended)")
        }
        let piped = try await run(["/bin/sh", "-c", "echo '{' | \(Program.path("luoctl")) bench --against /dev/stdin"])
        #expect(piped.status == 64 && piped.errors.contains("is not what luoctl bench"), "\(piped)")
        let nowhere = try await luoctl("bench", "sessions", "--html", directory.file("no/page.html"))
        #expect(nowhere.status == 64 && nowhere.errors.contains("No such file"), "\(nowhere)")
    }

    @Test(arguments: [
        (["hugetbl"], "sessions"), (["--max-memory", "12"], "64M"), (["--max-memory", "8388607T"], "1024T"),
        (["--max-memory", "lots"], "256M"),
    ])
    func wrongArguments(arguments: [String], help: String) async throws {
        let ended = try await run([Program.path("luoctl"), "bench"] + arguments)
        #expect(ended.status == 64)
        #expect(ended.errors.contains(help), "\(ended)")
        #expect(ended.output.isEmpty)
    }

    @Test func missingProgramsAreNamed() async throws {
        let directory = try TemporaryDirectory()
        try await install([Program.path("luoctl")], into: directory.path)
        let alone = try await run([directory.file("luoctl"), "bench", "sessions"])
        #expect(alone.status == 69 && alone.output.isEmpty, "\(alone)")
        #expect(alone.errors.contains("luo-bench is missing") && alone.errors.contains("make install"), "\(alone)")
        try await install([Program.path("luo-bench")], into: directory.path)
        let bench = try await run([directory.file("luoctl"), "bench", "sessions"])
        #expect(bench.status == 69 && bench.output.isEmpty, "\(bench)")
        #expect(bench.errors.contains("luo-floor-preserve") && bench.errors.contains("make install"), "\(bench)")
    }

    @Test("luoctl passes arguments and exit code through, as it becomes luo-bench") func becomesLuoBench()
        async throws
    {
        let directory = try TemporaryDirectory()
        let script = directory.file("luo-bench")
        try Data("#!/bin/sh\nprintf '%s\\n' \"$@\" | od -An -tx1\nexit 42\n".utf8)
            .write(to: URL(fileURLWithPath: script))
        let made = try await run(["/bin/mkdir", "-p", directory.file("bin"), directory.file("libexec/liveupdate")])
        #expect(made.status == 0, "\(made)")
        try await install([Program.path("luoctl")], into: directory.file("bin"))
        try await install([script], into: directory.file("libexec/liveupdate"))
        let luoctl = "exec '\(directory.file("bin/luoctl"))' bench"
        for (arguments, bytes) in [
            (#"-h -- "$(printf '\377')""#, " 2d 68 0a 2d 2d 0a ff 0a\n"), ("'a  b'", " 61 20 20 62 0a\n"),
            ("--help", " 2d 2d 68 65 6c 70 0a\n"), ("--version", " 2d 2d 76 65 72 73 69 6f 6e 0a\n"),
        ] {
            let ended = try await run(["/bin/sh", "-c", "\(luoctl) \(arguments)"])
            #expect(ended.status == 42 && ended.output == bytes && ended.errors.isEmpty, "\(arguments): \(ended)")
        }
    }

    @Test func helpIsThatOfTheBenchmark() async throws {
        for arguments in [["bench", "--help"], ["bench", "-h"], ["help", "bench"]] {
            let ended = try await run([Program.path("luoctl")] + arguments)
            #expect(ended.status == 0 && ended.output.contains("USAGE: luoctl bench "), "\(arguments): \(ended)")
            #expect(ended.output.contains("--check-limits"), "\(arguments): \(ended)")
        }
    }
}
