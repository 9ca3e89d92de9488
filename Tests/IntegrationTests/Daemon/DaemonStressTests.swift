// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

let hasPython = ["/usr/bin", "/usr/local/bin"].contains {
    FileManager.default.isExecutableFile(atPath: "\($0)/python3")
}

/// A short run of `make stress`: programs make random requests, while processes of luod are killed and updates come.
@Suite(.enabled(if: hasPython, "it takes python3: scripts/setup installs it")) struct DaemonStressTests {
    @Test("Eight programs get the right answers while processes are killed") func stress() async throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../scripts/daemon/stress").standardized.path
        let seed = announcedSeed("DaemonStressTests")
        let ended = try await run(
            ["/usr/bin/env", "python3", script, Program.path("luod"), "\(Scale.count(3))", "\(seed)"])
        #expect(ended.status == 0, "\(ended)")
    }
}
