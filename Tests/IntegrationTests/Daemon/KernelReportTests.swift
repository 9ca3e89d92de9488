// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import TestSupport
import Testing

/// The report of the last kernel update, with a luod. The kernel of this machine stays: the files of the state say that
/// luod has served under another kernel. Tests/VM has the test with a real kexec.
@Suite struct KernelReportTests: LuoctlSuite {
    private struct Report: Decodable {
        struct File: Decodable {
            let session, token, carrier: String
        }
        let version: Int
        let outcome, from: String
        let to: String?
        let freezeNs, endNs, bootNs, blackoutNs: UInt64?
        let files: [File]
    }

    private struct Status: Decodable {
        let kernelUpdate: Report?
    }

    let daemon: RunningDaemon
    private static let oldBoot = "00000000-1111-2222-3333-444444444444"

    init() async throws { daemon = try await RunningDaemon() }

    private var kernelFile: String { "\(daemon.state)/kernel" }
    private var recordFile: String { "\(daemon.state)/last-kernel-update" }

    /// Leaves the record of an update that began in 2001, under the kernel with this boot ID.
    private func leaveRecord(boot: String = Self.oldBoot) throws {
        let moments = [("freeze_began", 0), ("published", 20_000_000), ("kernel_ended", 30_000_000)]
        let times = moments.map { name, offset in
            let nanoseconds = 1_000_000_000_000_000_000 + offset
            return "\"\(name)\": {\"time\": \"2001-09-09T01:46:40.000Z\", \"nanoseconds\": \(nanoseconds)}"
        }
        let text = """
            {"version": 1, "release": "6.1-old", "boot_id": "\(boot)", "times": {\(times.joined(separator: ", "))},
            "files": [{"user": 0, "session": "vm", "token": "1", "handler": "dax-file-v1", "size": 4096,
            "carrier": "DAX", "memory": 0}], "accepted": [{"kind": "no-carrier", "subject": "token 7",
            "reason": "it ends", "remedy": "use DAX"}]}
            """
        try text.write(toFile: recordFile, atomically: false, encoding: .utf8)
    }

    /// Ends all processes of luod, and starts luod as the kernel after the other one.
    private func startAfterOtherKernel() async throws {
        daemon.killEverything()
        try "\(Self.oldBoot)\n".write(toFile: kernelFile, atomically: false, encoding: .utf8)
        try await daemon.start()
    }

    @Test("luod writes the kernel's record once under each kernel, with the boot ID of the one before")
    func record() async throws {
        try await startAfterOtherKernel()
        let text = try String(contentsOfFile: kernelFile, encoding: .utf8)
        let boot = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        #expect(text == "\(boot)\(Self.oldBoot)\n")
        let before = try FileStatus(at: kernelFile)
        daemon.killEverything()
        try await daemon.start()
        let after = try FileStatus(at: kernelFile)
        #expect(after.identity == before.identity && after.modified == before.modified)
        #expect(try String(contentsOfFile: kernelFile, encoding: .utf8) == text)
    }

    @Test("The report has the releases, all parts, the files and the accepted problems") func replaced() async throws {
        try leaveRecord()
        try await startAfterOtherKernel()
        let report = try await ctl("kexec", "--report", "--json").json(Report.self)
        #expect(report.version == 1 && report.outcome == "replaced")
        #expect(report.from == "6.1-old" && report.to?.isEmpty == false)
        #expect(report.freezeNs == 20_000_000)
        let parts = [report.freezeNs, report.endNs, report.bootNs].compactMap { $0 }
        #expect(parts.count == 3 && parts.reduce(0, +) == report.blackoutNs)
        #expect(report.files.map(\.carrier) == ["DAX"])

        let words = ["freeze and publish", "end of the old kernel", "boot", "blackout"]
        for command in [["kexec", "--report"], ["bench", "kexec"]] {
            let shown = try await run([Program.path("luoctl")] + command + ["--state", daemon.state])
            for word in words { expect(shown, says: word) }
        }
        expect(try await ctl("kexec", "--report"), says: "6.1-old", "dax-file-v1", "token 7: it ends")
        expect(try await ctl("status"), says: "kernel update: from 6.1-old", "blackout")
        #expect(try await ctl("status", "--json").json(Status.self).kernelUpdate?.outcome == "replaced")
    }

    @Test("Under the same kernel the report says that the kernel was not replaced") func notReplaced() async throws {
        let boot = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        try leaveRecord(boot: String(boot.prefix { $0 != "\n" }))
        expect(try await ctl("kexec", "--report"), says: "the kernel was not replaced")
        expect(try await ctl("status"), says: "the kernel was not replaced")
        expect(try await ctl("bench", "kexec"), 69, says: "the kernel was not replaced")
    }

    @Test("A record of an update before the last one is told apart") func restarted() async throws {
        try leaveRecord(boot: "another")
        try await startAfterOtherKernel()
        expect(try await ctl("kexec", "--report"), says: "started again since")
    }

    @Test("Without a record, or with a file that is none, each command says so") func noRecord() async throws {
        for command in [["kexec", "--report"], ["bench", "kexec"]] {
            let ended = try await run([Program.path("luoctl")] + command + ["--state", daemon.state])
            expect(ended, 69, says: "no kernel update is on record", "on DAX or on a disk")
        }
        #expect(try await ctl("status", "--json").json(Status.self).kernelUpdate == nil)
        expect(try await ctl("kexec", "--report", "--dry-run"), 64, says: "--report")

        try "{}".write(toFile: recordFile, atomically: false, encoding: .utf8)
        expect(try await ctl("kexec", "--report"), 64, says: "is no record")
        // A pipe without a writer would keep a reader waiting.
        try FileManager.default.removeItem(atPath: recordFile)
        try #require(unsafe mkfifo(recordFile, 0o600) == 0)
        expect(try await ctl("kexec", "--report"), 69, says: "last-kernel-update")
        #expect(try await ctl("status").status == 0)
    }
}
