// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// `luoctl --kernel-device` on the device of luod, under `luoctl run`. Tests/VM tries the same on a kernel that has the
/// device.
@Suite struct KernelDeviceTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Runs a script that holds a session `s`, with `luoctl` in PATH and a memory file as descriptor 4.
    private func inSession(_ script: String) async throws -> Ended {
        let path = "PATH=\(Program.directory):/usr/bin:/bin"
        let first = """
            exec 9<>"$TMPDIR/file"; rm "$TMPDIR/file"; echo content >&9
            k="--kernel-device --session s"

            """
        return try await run(
            [
                Program.path("luoctl"), "run", "--", Program.path("luoctl"), "session", "create", "--kernel-device",
                "s", "--", "/bin/sh", "-c", first + script,
            ], environment: [path, "TMPDIR=\(directory.path)"])
    }

    @Test("A session that a program holds goes over an update; its files come with it") func life() async throws {
        let ended = try await inSession(
            """
            luoctl preserve $k --token 7 --fd 9; echo "preserve $?"
            luoctl update >/dev/null; echo "update $?"
            luoctl session attach --kernel-device s -- /bin/sh -c '
                luoctl retrieve --kernel-device --session s --token 7 -- /bin/sh -c "
                    cat /proc/self/fd/3
                    luoctl finish --kernel-device --session s; echo finish \\$?"
                luoctl finish --kernel-device --session s; echo "again $?"'
            luoctl session attach --kernel-device s -- true; echo "attach $?"
            """)
        #expect(
            ended.lines == ["preserve 0", "update 0", "content", "finish 0", "again 0", "attach 1"], "\(ended)")
        #expect(ended.errors.contains("handed over no session of that name"), "\(ended)")
    }

    @Test("A session that no program has opened is finished by name") func finish() async throws {
        let ended = try await inSession(
            """
            luoctl preserve $k --token 7 --fd 9; luoctl update >/dev/null
            exec 3<&-
            luoctl finish $k; echo "finish $?"; luoctl finish $k; echo "again $?"
            """)
        #expect(ended.lines == ["finish 0", "again 1"], "\(ended)")
    }

    @Test("The session ends with its holder, and the name is free again") func holder() async throws {
        let ended = try await inSession(
            """
            luoctl session create --kernel-device t -- /bin/sh -c 'luoctl session create --kernel-device t -- true'
            echo "$?"; luoctl session create --kernel-device t -- true; echo "$?"
            luoctl session create --kernel-device u -- /nowhere; echo "$?"
            luoctl --kernel-device session create u -- true; echo "$?"
            """)
        #expect(ended.lines == ["1", "0", "127", "0"], "\(ended)")
        #expect(ended.errors.contains("a session of that name exists"), "\(ended)")
        #expect(ended.errors.contains("no session was opened"), "\(ended)")
    }

    @Test(
        "Errors say what the kernel's device answered, and what to do",
        arguments: [
            ("preserve $k --token 1 --path /proc/version", 1, "cannot preserve this kind of file"),
            ("preserve --kernel-device --session other --token 1 --fd 9", 1, "has inherited no session"),
            ("retrieve $k --token 1 -- true", 1, "the session is outgoing"),
            ("retrieve $k --token 1 -- true 4</dev/null", 64, "descriptor 4 is open"),
            ("finish $k", 1, "the session is outgoing"),
            ("finish --kernel-device --session other", 1, "handed over no session"),
            ("session attach --kernel-device other -- true", 1, "handed over no session"),
            ("session list --kernel-device", 69, "cannot list its sessions"),
            ("session rm --kernel-device s", 69, "cannot remove a session"),
            ("session create --kernel-device t", 64, "behind --"),
            ("session attach --kernel-device s --outgoing -- true", 64, "leave out --outgoing"),
            ("session list --kernel-device --state /x", 64, "leave out --kernel-device"),
            ("preserve $k --token 1 --fd 9 --held", 64, "leave out --held"),
            ("retrieve $k --token 1 --take -- true", 64, "are for luod"),
            ("session create t -- true", 64, "needs no program"),
        ])
    func errors(_ command: String, _ status: Int, _ text: String) async throws {
        let ended = try await inSession("luoctl \(command); echo $?")
        #expect(ended.lines.last == "\(status)" && ended.errors.contains(text), "\(ended)")
    }

    @Test(
        "On a kernel without the device, each command says so: 69",
        arguments: [
            ["session", "create", "s", "--kernel-device", "--", "true"], ["session", "list", "--kernel-device"],
            ["session", "attach", "s", "--kernel-device", "--", "true"],
            ["finish", "--session", "s", "--kernel-device"],
        ])
    func withoutDevice(_ command: [String]) async throws {
        if KernelOrchestrator.current().isOn { try Test.cancel("this kernel has the device") }
        let ended = try await run([Program.path("luoctl")] + command)
        #expect(ended.status == 69 && ended.errors.contains("liveupdate=on"), "\(ended)")
    }

    // MARK: Status

    private struct Report: Decodable {
        struct Kernel: Decodable {
            let isOn, hasFile, isRequested: Bool
        }
        let version: Int
        let kernelOrchestrator: Kernel
        let boot: Int?
    }

    @Test("status says whether the kernel has LUO, also without a luod: 69") func status() async throws {
        let kernel = KernelOrchestrator.current()
        let daemon = try await RunningDaemon()
        for (state, status) in [(daemon.state, CInt(0)), (directory.file("none"), 69)] {
            let ended = try await luoctl("status", "--state", state)
            #expect(ended.status == status && ended.lines.contains { $0.hasPrefix("kernel: ") }, "\(ended)")
            let machine = try await luoctl("status", "--json", "--state", state)
            #expect(machine.status == status, "\(machine)")
            let report = try machine.json(Report.self)
            #expect(report.version == 1 && (report.boot == nil) == (status != 0))
            #expect(report.kernelOrchestrator.isOn == kernel.isOn)
            #expect(report.kernelOrchestrator.hasFile == kernel.hasFile)
            #expect(report.kernelOrchestrator.isRequested == kernel.isRequested)
        }
    }
}
