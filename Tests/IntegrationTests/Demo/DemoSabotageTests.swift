// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// The demo must notice and name the damage that it causes on purpose. Afterwards the machine is unchanged.
@Suite struct DemoSabotageTests {
    private static let things = [
        ("content", "file 1, update 1: content, CRC32C: "), ("size", "token 1 has 4194304 bytes, and had 2097152"),
        ("pool", "the pool was changed: 2M pages: nr_overcommit_hugepages was "),
    ]
    private static let options = [
        [], ["--hugetlbfs"], ["--files", "4", "--updates", "2"], ["--hugetlbfs", "--files", "3", "--updates", "2"],
    ]

    @Test(.requiresRoot, .requiresPoolRights(4), arguments: things, options)
    func isNamed(_ thing: (name: String, fault: String), _ options: [String]) async throws {
        let room = try await DemoRoom()
        let options = ["--sabotage", thing.name, "--no-reserve"] + options
        let report = try await room.report(options, status: 1)
        #expect(report.sabotage != nil)
        #expect(report.faults.contains { $0.hasPrefix(thing.fault) }, "\(report.faults)")
        try await room.expectNothingLeft()
    }

    @Test("The report for people names the damage, too", .requiresRoot, .requiresPoolRights(2), arguments: things)
    func isNamedInText(_ thing: (name: String, fault: String)) async throws {
        let room = try await DemoRoom()
        let command = [Program.path("luoctl"), "demo", "--files", "2", "--size", "2M", "--sabotage", thing.name]
        let ended = try await run(room.entrance + command)
        #expect(ended.status == 1, "\(ended)")
        #expect(ended.output.contains("\nFAULT: \(thing.fault)"), "\(ended)")
        #expect(ended.output.contains("sabotage: "), "\(ended)")
        #expect(ended.lines.last?.hasPrefix("not everything held: ") == true, "\(ended)")
        try await room.expectNothingLeft()
    }

    @Test("Two processes reserve and sabotage the pool, and both undo it", .requiresRoot, .requiresPoolRights())
    func reservedAndSabotaged() async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        let report = try await room.report(["--sabotage", "pool", "--hugetlbfs"], status: 1)
        #expect(report.reservedPages >= 1)
        try await room.expectNothingLeft()
        withExtendedLifetime(taken) {}
    }
}
