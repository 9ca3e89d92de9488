// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import LiveUpdateBenchReport

@Suite("Two runs compared")
struct ComparisonTests {
    private func compare(
        _ old: [BenchMeasurement], _ new: [BenchMeasurement], tolerance: Double = 0.1,
        change: (inout BenchDocument) -> Void = { _ in }
    ) throws -> BenchComparison {
        var (before, after) = (BenchSamples.empty(), BenchSamples.empty())
        before.measurements = old
        after.measurements = new
        change(&after)
        return try BenchComparison(old: before, new: after, tolerance: tolerance)
    }

    private func verdict(_ old: BenchMeasurement, _ new: BenchMeasurement) throws -> BenchChange.Verdict? {
        try compare([old], [new]).changes.first?.verdict
    }

    @Test(
        "A change counts beyond the noise and beyond the tolerance",
        arguments: [
            (1_000.0, 0.05, 1_200.0, BenchChange.Verdict.regression), (1_200, 0.05, 1_000, .improvement),
            (1_000, 0.05, 1_000, .unchanged), (1_000, 0.01, 1_090, .unchanged), (1_090, 0.01, 1_000, .unchanged),
            (1_000, 0.5, 1_200, .noise), (1_200, 0.5, 1_000, .noise),
        ]) func verdicts(_ old: Double, _ spread: Double, _ new: Double, _ verdict: BenchChange.Verdict) throws
    {
        let comparison = try compare(
            [BenchSamples.measurement(old, spread: spread)], [BenchSamples.measurement(new, spread: spread)])
        #expect(comparison.changes.map(\.verdict) == [verdict])
        #expect(comparison.changes[0].basis == .time)
        #expect(comparison.hasRegressions == (verdict == .regression))
        #expect(comparison.warnings.isEmpty)
    }

    @Test func theToleranceIsTheirs() throws {
        let (old, new) = (BenchSamples.measurement(1_000, spread: 0.01), BenchSamples.measurement(1_200, spread: 0.01))
        #expect(try compare([old], [new], tolerance: 0.25).hasRegressions == false)
        #expect(try compare([old], [new], tolerance: 0.15).hasRegressions)
    }

    @Test("Between machines, ratios to the floor are compared")
    func machines() throws {
        func between(_ old: BenchMeasurement, _ new: BenchMeasurement) throws -> BenchComparison {
            try compare([old], [new]) { $0.machine.kernel = "6.1.0" }
        }
        // A machine that is three times as slow at everything is no regression.
        let old = BenchSamples.measurement(1_000, floor: 800, spread: 0.01)
        let same = try between(old, BenchSamples.measurement(3_000, floor: 2_400, spread: 0.01))
        #expect(same.changes.map(\.verdict) == [.unchanged])
        #expect(same.changes[0].basis == .ratioToFloor)
        #expect(!same.sameMachine)
        #expect(same.warnings.first?.contains("kernel 6.18.0 and 6.1.0") == true)

        let worse = try between(old, BenchSamples.measurement(1_000, floor: 500, spread: 0.01))
        #expect(worse.changes.map(\.verdict) == [.regression])
        let noisy = try between(old, BenchSamples.measurement(3_600, floor: 2_400, spread: 0.4))
        #expect(noisy.changes.map(\.verdict) == [.noise])

        let without = try between(BenchSamples.measurement(1_000), BenchSamples.measurement(3_000))
        #expect(without.changes.map(\.verdict) == [.incomparable])
        #expect(!without.hasRegressions)
        #expect(without.text.contains("1 without a floor, not compared"))
    }

    @Test("Each thing that makes times incomparable is named")
    func differences() throws {
        let changes: [(String, @Sendable (inout BenchMachine) -> Void)] = [
            ("processor AMD", { $0.processor = "other" }), ("processors 2 and 64", { $0.processors = 64 }),
            ("NUMA nodes 1 and 2", { $0.nodes = 2 }), ("governor none and powersave", { $0.governor = "powersave" }),
            ("hypervisor KVM and none", { $0.hypervisor = nil }), ("memory 24 GiB and 1 TiB", { $0.memory = 1 << 40 }),
        ]
        for (words, change) in changes {
            let comparison = try compare([], []) { change(&$0.machine) }
            #expect(comparison.warnings.first?.contains(words) == true, "\(comparison.warnings)")
        }
        // Load and pools differ from run to run on the same machine, and do not count.
        let same = try compare([], []) {
            $0.machine.load = [9, 9, 9]
            $0.machine.pools = []
            $0.machine.memory += 4096
        }
        #expect(same.sameMachine)
    }

    @Test("The kernel's counters vary a little; times are not counts")
    func noisyCounts() throws {
        func verdict(_ name: String, _ old: Double, _ new: Double) throws -> BenchChange.Verdict? {
            var (before, after) = (BenchSamples.measurement(1_000), BenchSamples.measurement(1_000))
            before.counted = [name: old]
            after.counted = [name: new]
            return try compare([before], [after]).changes.first { $0.counted != nil }?.verdict
        }
        #expect(try verdict("page faults", 0, 1) == .noise)
        #expect(try verdict("page faults", 0, 17) == .regression)
        #expect(try verdict("system calls of the thread", 0, 4) == .noise)
        #expect(try verdict("system calls of the thread", 0, 5) == .regression)
        #expect(try verdict("content bytes read", 0, 36) == .noise)
        #expect(try verdict("content bytes written", 0, 4096) == .regression)
        #expect(try verdict("content bytes read", 4096, 0) == .improvement)
        #expect(try verdict("nanoseconds per huge page", 10, 100) == nil)
    }

    @Test("Counts have no noise")
    func counts() throws {
        func counted(_ counts: [String: Double]) -> BenchMeasurement {
            var one = BenchSamples.measurement(1_000)
            one.counted = counts
            return one
        }
        func verdict(_ old: Double, _ new: Double) throws -> BenchChange? {
            try compare([counted(["system calls": old])], [counted(["system calls": new])]).changes
                .first { $0.counted != nil }
        }
        #expect(try verdict(40, 42)?.verdict == .unchanged)
        #expect(try verdict(40, 50)?.verdict == .regression)
        #expect(try verdict(50, 40)?.verdict == .improvement)
        #expect(try verdict(0, 0)?.verdict == .unchanged)
        #expect(try verdict(0, 1)?.verdict == .regression)
        #expect(try verdict(0, 1)?.change == nil)
        #expect(try compare([counted(["a": 1])], [counted(["b": 1])]).changes.count == 1)
    }

    @Test("Results of other tools are shown, and are no regression of ours")
    func others() throws {
        let comparison = try compare(
            [
                BenchSamples.measurement("compare", "memcpy", [:], 1_000),
                BenchSamples.measurement("compare", "liveupdate", [:], 10),
            ],
            [
                BenchSamples.measurement("compare", "memcpy", [:], 2_000),
                BenchSamples.measurement("compare", "liveupdate", [:], 10),
            ])
        #expect(comparison.changes.map(\.verdict) == [.regression, .unchanged])
        #expect(!comparison.hasRegressions)
        #expect(comparison.text.contains("(worse)"))
        #expect(comparison.text.contains("0 worse"))
    }

    @Test("Measurements are matched by scenario, name and parameters")
    func matching() throws {
        let old = [
            BenchSamples.measurement("files", "one more", ["files": 10], 1), BenchSamples.measurement("a", "x", [:], 1),
        ]
        let new = [
            BenchSamples.measurement("files", "one more", ["files": 100], 1),
            BenchSamples.measurement("a", "x", [:], 1),
        ]
        let comparison = try compare(old, new)
        #expect(comparison.changes.count == 1)
        #expect(comparison.onlyInOld.map(\.parameters) == [["files": 10]])
        #expect(comparison.onlyInNew.map(\.parameters) == [["files": 100]])
        #expect(comparison.text.contains("only in the older run:\n  files: one more, 10 files"))
        #expect(comparison.text.contains("only in the newer run:\n  files: one more, 100 files"))
        #expect(try compare(old, []).warnings == ["the two runs measured nothing in common"])
    }

    @Test("Text lists the worst change first, in columns")
    func text() throws {
        func one(_ name: String, _ time: Double, floor: Double? = nil) -> BenchMeasurement {
            BenchSamples.measurement("hugetlb", name, ["bytes": 1 << 30], time, floor: floor, spread: 0.01)
        }
        let comparison = try compare(
            [one("freeze", 1_000), one("boot", 1_000, floor: 500), one("publish", 2_000), one("retrieve", 1_000)],
            [one("freeze", 1_200), one("boot", 1_500, floor: 550), one("publish", 1_000), one("retrieve", 1_001)])
        #expect(
            comparison.text == """
                verdict   change    floor      old      new  what
                worse    +50.0 %  +10.0 %  1.00 µs  1.50 µs  hugetlb: boot, 1 GiB
                worse    +20.0 %           1.00 µs  1.20 µs  hugetlb: freeze, 1 GiB
                better   −50.0 %           2.00 µs  1.00 µs  hugetlb: publish, 1 GiB

                2 worse, 1 better, 0 within the noise, 1 unchanged (within 10 %)
                """)
    }

    @Test("A comparison keeps the warnings of the runs")
    func warnings() throws {
        let comparison = try compare([BenchSamples.measurement(1)], [BenchSamples.measurement(1)]) {
            $0.warnings = ["noisy"]
        }
        #expect(comparison.warnings == ["newer run: noisy"])
    }

    @Test("An unknown schema is refused, on either side")
    func schema() throws {
        var other = BenchSamples.empty()
        other.schema = "liveupdate-bench-9"
        let error = BenchSchemaError(found: "liveupdate-bench-9")
        #expect(throws: error) { try BenchComparison(old: other, new: BenchSamples.empty()) }
        #expect(throws: error) { try BenchComparison(old: BenchSamples.empty(), new: other) }
        #expect(error.description.contains("liveupdate-bench-9"))
        // An unknown schema is refused even if the rest of the document cannot be read.
        let header = try JSONDecoder().decode(BenchDocument.Header.self, from: Data(#"{"schema":"x"}"#.utf8))
        #expect(throws: BenchSchemaError(found: "x")) { try header.check() }
    }

    @Test("Comparisons and documents go through JSON")
    func json() throws {
        let document = BenchSamples.full()
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        #expect(try decoder.decode(BenchDocument.self, from: encoder.encode(document)) == document)
        let comparison = try BenchComparison(old: document, new: document)
        #expect(comparison.changes.allSatisfy { $0.verdict == .unchanged })
        let text = String(decoding: try encoder.encode(comparison), as: UTF8.self)
        #expect(text.contains(#""has_regressions":false"#))
    }
}
