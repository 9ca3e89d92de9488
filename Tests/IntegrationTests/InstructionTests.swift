// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import TestSupport
import Testing

private let canCount = ["valgrind", "strip"].allSatisfy {
    FileManager.default.isExecutableFile(atPath: "/usr/bin/\($0)")
}

/// Counts the instructions of replayed scenarios with valgrind, so that repeated work fails here without a clock. The
/// counts vary by some hundredths of a percent from run to run. These programs are not optimized, so the test measures
/// work, not speed.
@Suite(.enabled(if: canCount, "it takes valgrind, and strip of binutils")) struct InstructionTests {
    @Test func oneMoreScenario() async throws {
        let directory = try TemporaryDirectory()
        // valgrind fails on debugging information that it does not know.
        let program = directory.file("luoctl")
        #expect(try await run(["/usr/bin/strip", "--strip-debug", "-o", program, Program.path("luoctl")]).status == 0)

        let vectors = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let lines = try String(contentsOf: vectors.appendingPathComponent("Vectors/named.jsonl"), encoding: .utf8)
            .split(separator: "\n")
        let none = try await instructions(program, [])
        let all = try await instructions(program, lines)
        // When this was written, the count was 6.4 million.
        let each = (all - none) / lines.count
        #expect((1_000_000..<7_400_000).contains(each), "\(each) for each of \(lines.count) scenarios")
    }

    private func instructions(_ program: String, _ scenarios: [Substring]) async throws -> Int {
        let ended = try await run(
            [
                "/usr/bin/valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, "replay", "-",
            ],
            // Without this variable tables are walked in another order each time.
            environment: ["SWIFT_DETERMINISTIC_HASHING=1"], input: scenarios.joined(separator: "\n"))
        #expect(ended.lines == ["\(scenarios.count) passed, 0 failed"])
        // ==PID== I   refs:      62,309,305
        let line = ended.errors.split(separator: "\n").first { $0.contains("refs:") } ?? ""
        let digits = (line.split(separator: " ").last ?? "").filter { $0.isNumber }
        return try #require(Int(digits), "\(ended)")
    }
}
