// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// `luoctl dax` and `luoctl kexec` on this machine. The tests must not change it: they use only errors and --dry-run.
@Suite struct KexecTests {
    private struct Plan: Decodable {
        let version: Int
        let argument: String
        let start, size, alignment, remaining: UInt64
        let isAboveFourGib: Bool
        let modules, commands, notes: [String]
        let fstab: String
    }

    private struct Verdict: Decodable {
        struct Problem: Decodable {
            let kind, subject, reason, remedy: String
        }
        let version: Int
        let dryRun: Bool
        let running, kernel, commandLine: String
        let problems, accepted: [Problem]
        let notes: [String]
    }

    private static let server = Document.root.appendingPathComponent("Tests/KernelTests/Samples/server.iomem").path

    private func plan(_ arguments: String...) async throws -> Ended {
        try await run([Program.path("luoctl"), "dax", "plan", "--iomem", Self.server] + arguments)
    }

    private func kexec(_ arguments: String...) async throws -> Ended {
        let directory = try TemporaryDirectory()
        return try await run([Program.path("luoctl"), "kexec", "--dry-run", "--state", directory.path] + arguments)
    }

    // MARK: dax

    @Test func plansAreMachineReadable() async throws {
        let plan = try await plan("--size", "32G", "--json", "--cmdline", "quiet memmap=64G!4G", "--mount", "/srv/dax")
            .json(Plan.self)
        #expect(plan.version == 1)
        #expect(plan.argument == "memmap=32G!68G")
        #expect(plan.start == 68 << 30 && plan.size == 32 << 30 && plan.alignment == 1 << 30 && plan.isAboveFourGib)
        #expect(plan.commands.contains("mount -o dax LABEL=luo-dax2 /srv/dax"))
        #expect(plan.fstab == "LABEL=luo-dax2 /srv/dax ext4 dax,nofail 0 2")
        #expect(plan.notes.contains { $0.contains("memmap=64G!4G already") })
    }

    @Test(
        arguments: [
            (["--size", "1M"], 64, "too small"), (["--size", "1025M"], 64, "try 1G or 1152M"),
            (["--size", "x"], 64, "no size"),
            (["--size", "1T"], 69, "too much"), (["--size", "120G"], 69, "try --size 116352M"), ([], 64, "--size"),
            (["--size", "1G", "--mount", "relative"], 64, "absolute path"),
            (["--size", "1G", "--iomem", "/nonexistent"], 64, "cannot be read"),
            (["--size", "1G", "--iomem", "/dev/null"], 64, "no range named System RAM"),
            (["--size", "1G", "--iomem", "/dev/zero"], 64, "/dev/zero: cannot be read: File too large"),
        ] as [([String], CInt, String)])
    func wrongPlansAreExplained(arguments: [String], status: CInt, message: String) async throws {
        let ended = try await run([Program.path("luoctl"), "dax", "plan", "--iomem", Self.server] + arguments)
        #expect(ended.status == status, "\(ended)")
        #expect(ended.errors.contains(message), "\(ended)")
        #expect(ended.output.isEmpty, "\(ended)")
    }

    @Test func addressesOfAnotherMachineMustNotBeZero() async throws {
        let directory = try TemporaryDirectory()
        try Data("00000000-00000000 : System RAM\n".utf8).write(to: URL(fileURLWithPath: directory.file("iomem")))
        let ended = try await run([
            Program.path("luoctl"), "dax", "plan", "--size", "1G", "--iomem", directory.file("iomem"),
        ])
        #expect(ended.status == 64 && ended.errors.contains("as root"), "\(ended)")
    }

    @Test func regionsAreMachineReadable() async throws {
        let ended = try await run([Program.path("luoctl"), "dax", "--json"])
        #expect(ended.status == 0 && ended.output.contains("\"version\" : 1"), "\(ended)")
    }

    // MARK: kexec

    @Test func allProblemsAreListedAtOnce() async throws {
        let ended = try await kexec("--kernel", "/nonexistent", "--initrd", "/nonexistent-initrd", "--json")
        let verdict = try ended.json(Verdict.self)
        #expect(ended.status == 1, "\(ended)")
        #expect(verdict.version == 1 && verdict.dryRun)
        #expect(verdict.kernel == "/nonexistent")
        let kinds = verdict.problems.map(\.kind)
        for kind in ["kernel-missing", "initrd-missing", "no-luod"] { #expect(kinds.contains(kind), "\(ended)") }
        #expect(ended.errors.contains("the kernel cannot be replaced: \(kinds.count) problems"), "\(ended)")
    }

    @Test("A user who may not connect to luod is told to be root", .requiresRoot) func anotherUser() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0600"])
        let ended = try await luoctlAsNobody(["kexec", "--dry-run", "--json", "--state", daemon.state])
        let problem = try #require(try ended.json(Verdict.self).problems.first { $0.subject == "luod" })
        #expect(problem.kind == "luod-hidden" && problem.remedy == "run luoctl kexec as root", "\(ended)")
    }

    @Test func acceptedProblemsAreStillListed() async throws {
        let ended = try await kexec(
            "--without-luod", "--no-initrd", "--cmdline", "a=1 -- b", "--append", "c=2 -- d", "--json")
        let verdict = try ended.json(Verdict.self)
        #expect(verdict.accepted.map(\.kind) == ["no-luod"], "\(ended)")
        #expect(!verdict.problems.map(\.kind).contains("initrd-missing"), "\(ended)")
        #expect(verdict.commandLine == "a=1 c=2 -- b d", "\(ended)")
    }

    @Test(arguments: [
        ["--cmdline", "a", "--reuse-cmdline"], ["--initrd", "/a", "--no-initrd"], ["--kernel", ""], ["surplus"],
    ])
    func wrongOptionsAreRefused(arguments: [String]) async throws {
        let ended = try await run([Program.path("luoctl"), "kexec", "--dry-run"] + arguments)
        #expect(ended.status == 64, "\(ended)")
    }
}
