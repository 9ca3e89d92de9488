// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Kernels that lack a system call, played by a seccomp filter: each command says what is missing, or does without it.
@Suite struct WithoutCallsTests {
    /// Runs luoctl on a kernel without some calls.
    private func luoctl(
        without calls: String, with error: CInt = ENOSYS, _ arguments: [String], inheriting: FileDescriptor? = nil
    ) async throws -> Ended {
        try await run(
            [Program.path("RunProbe"), "without", calls, "\(error)", Program.path("luoctl")] + arguments,
            inheriting: inheriting)
    }

    @Test(
        "Without userfaultfd, files on huge pages are refused with the reason", .requiresHugePages(1),
        arguments: [
            (ENOSYS, "this kernel has no userfaultfd(2)", "CONFIG_USERFAULTFD"),
            (EINVAL, "has no minor faults", "Linux 5.13"), (EPERM, "may not use userfaultfd(2)", "the filter"),
        ])
    func check(_ error: CInt, _ reason: String, _ remedy: String) async throws {
        let file = try makeMemoryFile(named: "huge", size: PageSize.huge2M.bytes, pageSize: .huge2M)
        let ended = try await luoctl(
            without: "userfaultfd", with: error, ["check", "fd:3"], inheriting: file.borrowed)
        // A missing right has a code of its own.
        #expect(ended.status == (error == EPERM ? 77 : 1), "\(ended)")
        #expect(ended.output.contains(reason) && ended.output.contains(remedy), "\(ended)")
    }

    @Test("Without userfaultfd, the demo leaves out the files on huge pages, and the rest holds")
    func demo() async throws {
        let arguments = ["demo", "--files", "2", "--size", "4M", "--no-reserve"]
        let ended = try await luoctl(without: "userfaultfd", arguments)
        #expect(ended.status == 0, "\(ended)")
        #expect(
            ended.output.contains("left out: 1 files on huge pages of 2M: this kernel has no userfaultfd"), "\(ended)")
        #expect(ended.output.contains("1 file held"), "\(ended)")
        let needed = try await luoctl(without: "userfaultfd", arguments + ["--hugetlbfs"])
        #expect(needed.status == 69 && needed.errors.contains("CONFIG_USERFAULTFD"), "\(needed)")
    }

    @Test("Without pidfd_getfd, no descriptors of other processes", arguments: ["pidfd_open", "pidfd_getfd"])
    func otherProcesses(_ call: String) async throws {
        let checked = try await luoctl(without: call, ["check", "pid:\(getpid())"])
        #expect(checked.status == 69 && checked.errors.contains("Linux 5.6"), "\(checked)")
        let preserved = try await luoctl(
            without: call, ["preserve", "--session", "s", "--token", "1", "--pid", "\(getpid())", "--fd", "0"])
        #expect(preserved.status == 1 && preserved.errors.contains("Linux 5.6"), "\(preserved)")
        #expect(preserved.errors.contains("ENOSYS: descriptor 0 of process \(getpid())"), "\(preserved)")
    }

    @Test(
        "luoctl run names the call that the kernel lacks, and runs nothing",
        arguments: [
            "seccomp", "pidfd_open", "pidfd_getfd", "process_vm_readv",
        ])
    func runs(_ call: String) async throws {
        let ended = try await luoctl(without: call, ["run", "--", "/bin/echo", "began"])
        #expect(ended.status == 69 && ended.output.isEmpty, "\(ended)")
        #expect(ended.errors.contains("\(call): ") && ended.errors.contains("Linux 5.9"), "\(ended)")
    }

    @Test("luoctl run does without kcmp") func withoutComparison() async throws {
        let ended = try await luoctl(without: "kcmp", ["run", "--", Program.path("RunProbe"), "life"])
        #expect(ended.status == 0 && ended.lines.last == "ok", "\(ended)")
    }

    @Test("luod on a kernel without filters says so at once, and ends with 69") func daemon() async throws {
        let directory = try TemporaryDirectory()
        let ended = try await run(
            [
                Program.path("RunProbe"), "without", "seccomp", "\(ENOSYS)", Program.path("luod"), "--state",
                directory.file("state"),
            ])
        #expect(ended.status == 69 && ended.errors.contains("CONFIG_SECCOMP_FILTER"), "\(ended)")
        #expect(!ended.errors.contains("another is started"), "\(ended)")
    }
}
