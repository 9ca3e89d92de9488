// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import TestSupport
import Testing

/// Readers that go away, and processes and names of other users.
@Suite struct UnfriendlyTests {
    @Test("A demo without a reader of its log ends as usual", .requiresRoot, .requiresHugePages(1))
    func readerThatLeaves() async throws {
        let room = try await DemoRoom()
        _ = try await room.shell(
            "\(Program.path("luoctl")) demo --files 2 --size 2M --hugetlbfs --no-reserve 2>&1 >/dev/null | true")
        try await room.expectNothingLeft()
    }

    @Test("Control characters are printed escaped") func namesOfOthers() async throws {
        let file = try makeMemoryFile(named: "a\u{1B}[31mb\nc", size: 4096)
        let ended = try await run([Program.path("luoctl"), "check", "fd:3"], inheriting: file.borrowed)
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.output.contains("a\\u{1b}[31mb"))
        #expect(!ended.output.unicodeScalars.contains("\u{1B}"))
    }

    @Test("A process that has ended is reported as ended, and not as one without files") func zombie() async throws {
        // The child stays a zombie, because its parent executes another program instead of the shell, which would wait
        // for it.
        let parent = try Program(["/bin/sh", "-c", "sleep 2 & echo $!; exec sleep 3000"])
        try await eventually("the number of the child", within: 20) { try parent.outputSoFar.hasSuffix("\n") }
        let child = try parent.outputSoFar.dropLast()
        try await eventually("its end", within: 20) {
            try String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8).contains(") Z ")
        }
        let ended = try await luoctl("check", "pid:\(child)")
        #expect(ended.status == 69, "\(ended)")
    }
}
