// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import TestSupport
import Testing

/// `luoctl demo`: real files over real updates. The pool is unchanged afterwards, in every case.
@Suite struct DemoTests {
    private struct Report: Decodable {
        struct File: Decodable { let order: Int }
        struct Finding: Decodable {
            let update: Int
            let token: UInt64
            let faults: [String]
            let moved: Int?
        }
        struct Callback: Decodable {
            let callback: String
            let calls: Int
            let expected: Int
        }
        let held: Bool
        let updates: Int
        let reservedPages: Int
        let files: [File]
        let findings: [Finding]
        let flb: [Callback]
        let leftOut: [String]

        func expectHeld(files: Int, updates: Int) {
            #expect(held)
            #expect(self.updates == updates)
            #expect(self.files.count == files)
            #expect(findings.count == files * updates)
            #expect(findings.allSatisfy { $0.faults.isEmpty })
        }

        /// Checks that each callback came once per update, and that nothing was undone.
        func expectCalls(_ count: Int) {
            for line in flb {
                #expect(line.calls == (line.callback == "unpreserve" ? 0 : count), "\(line.callback)")
                #expect(line.calls == line.expected)
            }
            #expect(flb.map(\.callback).sorted() == ["finish", "preserve", "retrieve", "unpreserve"])
        }
    }

    private static let demo = [Program.path("luoctl"), "demo", "--files", "4", "--size", "16M", "--json"]

    private func pages() throws -> UInt64 { try HugePagePool(.huge2M).total }

    /// Waits until the pool has its size, and no process is left that could change it.
    private func expectAllGivenBack(_ before: UInt64) async throws {
        try await eventually("a pool of \(before) pages", within: 20) { try pages() == before }
        try await eventually("the end of all processes", within: 20) {
            try processes(running: "pool-guard").isEmpty && processes(running: "demo").isEmpty
        }
    }

    @Test(.requiresPoolRights()) func withNoReserveThePoolStaysAsItIs() async throws {
        let taken = try EmptyPool()
        let before = try pages()
        let ended = try await run(Self.demo + ["--no-reserve"])
        #expect(ended.status == 0, "\(ended)")
        let report = try ended.json(Report.self)
        #expect(report.files.map(\.order) == [0, 0])
        #expect(report.leftOut.first?.contains("--no-reserve") == true)
        #expect(try pages() == before)
        withExtendedLifetime(taken) {}
    }

    @Test(
        "A closed standard input, output or error gets no file of the demo", .requiresPoolRights(),
        arguments: ["<&-", ">&-", "2>&-"])
    func closedStandardDescriptors(redirection: String) async throws {
        let command = Self.demo.joined(separator: " ") + " --files 2 --no-reserve --updates 2 \(redirection)"
        let ended = try await run(["/bin/sh", "-c", command])
        #expect(ended.status == 0, "\(ended)")
    }

    @Test("If the client has gone before its pages are reserved, the pages are given back", .requiresPoolRights())
    func guardWithoutReader() async throws {
        let taken = try EmptyPool()
        let before = try pages()
        let note = FileManager.default.temporaryDirectory.appendingPathComponent("note-\(UUID().uuidString)").path
        let command = "\(Program.path("luoctl")) pool-guard --pages 3 --order 9 --note \(note) </dev/null | true"
        _ = try await run(["/bin/sh", "-c", command])
        try await expectAllGivenBack(before)
        #expect(!FileManager.default.fileExists(atPath: note))
        withExtendedLifetime(taken) {}
    }

    @Test("A user that may not reserve pages makes no lock file, because root could not lock it", .requiresRoot)
    func reservingWithoutTheRight() async throws {
        let script = """
            mount -t tmpfs -o mode=1777 none /run/lock
            setpriv --reuid 65534 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search \
                "$0" pool-guard --pages 1000000000 --order 9 --note /run/lock/note
            ls -A /run/lock
            """
        let ended = try await run([
            "/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, Program.path("luoctl"),
        ])
        #expect(ended.lines == ["only root can reserve huge pages"], "\(ended)")
    }

    @Test("It reserves missing pages, and gives them back", .requiresPoolRights()) func reserving() async throws {
        let taken = try EmptyPool()
        let before = try pages()
        let ended = try await run(Self.demo + ["--updates", "3"])
        #expect(ended.status == 0, "\(ended)")
        let report = try ended.json(Report.self)
        report.expectHeld(files: 4, updates: 3)
        report.expectCalls(3)
        #expect(report.reservedPages == 13)
        #expect(report.leftOut.isEmpty)
        try await expectAllGivenBack(before)
        withExtendedLifetime(taken) {}
    }

    @Test(.requiresHugePages(13)) func aPoolWithEnoughPagesIsNotChanged() async throws {
        let before = try pages()
        let ended = try await run(Self.demo)
        #expect(ended.status == 0, "\(ended)")
        let report = try ended.json(Report.self)
        report.expectHeld(files: 4, updates: 1)
        report.expectCalls(1)
        #expect(report.reservedPages == 0)
        try await expectAllGivenBack(before)
    }

    @Test(.requiresHugePages(13)) func forPeopleItPrintsTables() async throws {
        let ended = try await luoctl("demo", "--files", "4", "--size", "16M")
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.output.contains("hugetlb 2M"))
        #expect(ended.output.contains("preserve        1         1"))
        #expect(ended.output.contains("4 files held over 1 update"))
    }

    @Test(arguments: [
        (["--files", "0"], "--files takes 1 to 1000"), (["--files", "1001"], "--files takes 1 to 1000"),
        (["--size", "3M"], "--size takes a multiple of 2M"), (["--size", "0"], "--size takes a multiple of 2M"),
        (["--size", "x"], "\"x\" is no size"), (["--size", "99999999999999999999G"], "is no size"),
        (["--updates", "0"], "--updates takes 1 to 1000"), (["--frobnicate"], "--frobnicate"),
    ])
    func wrongArguments(_ arguments: [String], _ message: String) async throws {
        let ended = try await run([Program.path("luoctl"), "demo"] + arguments)
        #expect(ended.status == 64)
        #expect(ended.errors.contains(message))
        #expect(ended.output.isEmpty)
    }
}

/// The demo without root's rights.
@Suite struct UnprivilegedDemoTests {
    private struct Report: Decodable {
        struct File: Decodable { let order: Int }
        struct Finding: Decodable {
            let faults: [String]
            let moved: Int?
        }
        let held: Bool
        let files: [File]
        let findings: [Finding]
        let leftOut: [String]
    }

    private func run() async throws -> Ended { try await luoctlAsNobody(["demo", "--size", "16M", "--json"]) }

    @Test(.requiresPoolRights()) func withoutPagesItSaysWhatItLeftOut() async throws {
        let taken = try EmptyPool()
        let ended = try await run()
        #expect(ended.status == 0, "\(ended)")
        let report = try ended.json(Report.self)
        #expect(report.held)
        #expect(report.files.map(\.order) == [0, 0])
        #expect(report.leftOut == ["2 files on huge pages of 2M: only root can reserve huge pages"])
        #expect(ended.errors.contains("left out: 2 files on huge pages"))
        withExtendedLifetime(taken) {}
    }

    @Test("Frames may be unknown, which is no fault; the rest is checked", .requiresRoot, .requiresHugePages(13))
    func withPagesItRunsAll() async throws {
        let ended = try await run()
        #expect(ended.status == 0, "\(ended)")
        let report = try ended.json(Report.self)
        #expect(report.held)
        #expect(report.files.count == 4)
        #expect(report.findings.allSatisfy { $0.moved == nil && $0.faults.isEmpty })
        #expect(report.leftOut.isEmpty)
    }
}
