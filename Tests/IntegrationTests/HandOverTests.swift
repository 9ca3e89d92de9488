// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Real hand-overs: a process starts its next image beside it, and the image takes its files over. See
/// Tests/UpdateProbe. `make hand-over-sweep` kills both processes at each of their system calls.
@Suite struct HandOverTests {
    /// Runs a chain of processes to its end, and returns the lines of all of them.
    private func chain(
        _ arguments: [String], environment: [String] = [], until last: String = "done"
    ) async throws -> [[String: String]] {
        let program = try Program(
            [Program.path("UpdateProbe"), "hand-over"] + arguments, environment: environment)
        try await eventually("the end of the chain", within: 120) {
            try program.outputSoFar.contains("\"\(last)\"") || program.outputSoFar.contains("\"fault\"")
        }
        let first = try await program.ended()
        #expect(first.status == 0, "\(first)")
        let lines = try Ended(status: 0, output: program.outputSoFar, errors: program.errorsSoFar).objects()
        #expect(!lines.contains { $0["fault"] != nil || $0["error"] != nil }, "\(first)")
        return lines
    }

    private func expectClean(_ line: [String: String], files: Int) {
        #expect(line["intact"] == "\(files)")
        for prefix in ["begin", "end"] {
            #expect(line["\(prefix)_standard"] == "3")
            #expect(line["\(prefix)_arena"] == "1")
            #expect(line["\(prefix)_files"] == "\(files)")
            #expect(line["\(prefix)_others"] == "")
            #expect(line["\(prefix)_inheritable"] == "0")
        }
    }

    private func line(_ lines: [[String: String]], _ key: String) throws -> [String: String] {
        try #require(lines.first { $0[key] != nil }, "\(key) in \(lines)")
    }

    @Test(
        "The next image has all files under its own numbers, and the old process serves until then",
        arguments: [1, 10, 253, 1000])
    func filesAreKept(_ count: Int) async throws {
        let lines = try await chain(["\(count)", "1"])
        expectClean(try line(lines, "intact"), files: count)
        let old = try line(lines, "handed_over")
        #expect(old["second"] == "\(Errno.resourceBusy.rawValue)" && old["reboot"] == old["second"])
        #expect(old["serves"] == "0", "requests are answered while the image waits")
        #expect(old["after"] == "\(Errno.operationNotSupportedByDevice.rawValue)")
        let next = try #require(lines.first { $0["boot"] == "1" })
        #expect(next["process"] == old["handed_over"])
        #expect(next["early"] == "\(Errno.resourceTemporarilyUnavailable.rawValue)" && next["waited"] == "true")
    }

    @Test("Fifty hand-overs in a row neither grow the arena nor leave a descriptor") func many() async throws {
        let lines = try await chain(["40", "50"]).filter { $0["update"] != nil }
        #expect(lines.map { $0["update"] } == (1...50).map { "\($0)" })
        for line in lines.dropFirst() {
            expectClean(line, files: 40)
            #expect(line["arena_size"] == lines[1]["arena_size"])
            #expect(line["arena_used"] == lines[1]["arena_used"])
        }
    }

    @Test(
        "With a faulty image, the old process goes on and gets the reason, and the next image gets all files",
        arguments: [
            ("missing", Errno.notSupported, "could not be started"), ("other", .notSupported, "exit code 0"),
            ("exit", .notSupported, "exit code 3"), ("hang", .notSupported, "in time"),
            ("exit-waiting", .notSupported, "exit code 4"), ("hang-waiting", .notSupported, "in time"),
            ("crash-waiting", .notSupported, "signal 6"),
            ("lacking", .notSupported, "does not know \"memfd-extents-v1\""),
            ("exit-ready", .notSupported, "exit code 6"), ("stop-taking-over", .canceled, "take over in time"),
            ("unfreezable", .ioError, "it is stubborn"), ("called-off", .canceled, "was called off"),
        ])
    func calledOff(fault: String, errno: Errno, reason: String) async throws {
        let lines = try await chain(["5", "1", fault], environment: ["SWIFT_BACKTRACE=enable=no"])
        let refused = try line(lines, "refused")
        #expect(refused["refused"] == "\(errno.rawValue)" && refused["why"]?.contains(reason) == true, "\(refused)")
        #expect(try line(lines, "children")["children"] == "-1", "the image was waited for")
        expectClean(try line(lines, "intact"), files: 5)
    }

    @Test("Threads that preserve and release files all the time lose none of them") func busy() async throws {
        let lines = try await chain(["20", "10"], environment: ["PROBE_BUSY=1"])
        #expect(lines.filter { $0["intact"] == "20" }.count == 10)
        let busy = lines.filter { $0["busy"] != nil }
        #expect(busy.count == 10 && busy.allSatisfy { $0["wrong"] == "0" }, "\(busy)")
        #expect(busy.contains { $0["busy"] != "0" })
    }

    @Test("An image whose old process dies goes on alone with all files") func orphaned() async throws {
        let program = try Program(
            [Program.path("UpdateProbe"), "hand-over", "7", "1"], environment: ["PROBE_ORPHAN=1"])
        try await eventually("the image", within: 30) { try program.outputSoFar.contains("waiting") }
        program.kill()
        try await eventually("the image's boot", within: 30) { try program.outputSoFar.contains("alone") }
        let lines = try Ended(status: 0, output: program.outputSoFar, errors: "").objects()
        #expect(try line(lines, "alone")["alone"] == "7")
    }

    @Test("A service manager learns the number of the new main process") func mainProcess() async throws {
        let manager = try ServiceManager()
        manager.start()
        let lines = try await chain(["1", "1"], environment: manager.environment)
        let process = try #require(try line(lines, "handed_over")["handed_over"])
        try await eventually("the notification", within: 10) { manager.lines.contains("READY=1") }
        #expect(manager.lines.filter { !$0.hasPrefix("BARRIER") } == ["MAINPID=\(process)", "READY=1"])
    }
}
