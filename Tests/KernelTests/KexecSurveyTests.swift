// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// The situation of a machine that a directory describes.
@Suite struct KexecSurveyTests {
    private final class Machine {
        private let directory: TemporaryDirectory
        var root: String { directory.path }

        /// A machine with kexec, and without anything in /boot.
        init() throws {
            directory = try TemporaryDirectory()
            try write("/proc/sys/kernel/osrelease", "7.3.4\n")
            try write("/proc/sys/kernel/version", "#2 SMP\n")
            try write("/proc/sys/kernel/kexec_load_disabled", "0\n")
            try write("/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet\n")
        }

        func write(_ path: String, _ text: String) throws { try write(path, Array(text.utf8)) }

        func write(_ path: String, _ bytes: [UInt8]) throws {
            let url = URL(fileURLWithPath: root + path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: url)
        }

        func situation(_ choice: KexecChoice = KexecChoice()) throws -> KexecSituation {
            try KexecSurvey(root: root).situation(choice, daemon: .absent(reason: "none"), allowances: [])
        }
    }

    @Test func filesOfTheRunningReleaseAreTheDefault() throws {
        let machine = try Machine()
        let missing = try machine.situation()
        #expect(missing.next.path.string == "\(machine.root)/boot/vmlinuz-7.3.4")
        guard case .failure(.unreadable(.noSuchFileOrDirectory)) = missing.next.file,
            case .missing = missing.next.initrd
        else {
            Issue.record("\(missing.next)")
            return
        }
        #expect("\(missing.next.commandLine)" == "root=/dev/vda1 quiet")
        #expect(missing.loading == .possible)
        #expect(missing.lockdown == nil)
        #expect(!missing.isSecureBoot)
        #expect(missing.regions.isEmpty)

        try machine.write("/boot/initramfs-7.3.4.img", "initrd")
        let found = try machine.situation()
        #expect(found.next.initrd == .file(FilePath("\(machine.root)/boot/initramfs-7.3.4.img")))
    }

    @Test func choicesAreUsed() throws {
        let machine = try Machine()
        try machine.write("/x/kernel", "no kernel")
        try machine.write("/x/initrd", "initrd")
        let choice = KexecChoice(
            kernel: FilePath("\(machine.root)/x/kernel"), initrd: .file(FilePath("\(machine.root)/x/initrd")),
            commandLine: KernelCommandLine("a -- b"), appended: KernelCommandLine("c"))
        let next = try machine.situation(choice).next
        #expect("\(next.commandLine)" == "a c -- b")
        #expect(next.initrd == .file(FilePath("\(machine.root)/x/initrd")))
        guard case .failure = next.file else {
            Issue.record("\(next.file)")
            return
        }
        #expect(try machine.situation(KexecChoice(initrd: .none)).next.initrd == .none)
        let directory = FilePath(machine.root)
        #expect(
            try machine.situation(KexecChoice(initrd: .file(directory))).next.initrd
                == .unreadable(directory, .invalidArgument))
    }

    @Test(
        arguments: [
            ("0", nil, KexecSituation.Loading.possible), ("1", nil, .disabled), ("0", "-1", .possible),
            ("0", "0", .limited),
            ("0", "2", .possible), (nil, nil, .missing),
        ] as [(String?, String?, KexecSituation.Loading)])
    func settingsOfTheKernelAreRead(disabled: String?, limit: String?, loading: KexecSituation.Loading) throws {
        let machine = try Machine()
        let path = "\(machine.root)/proc/sys/kernel/kexec_load_disabled"
        if let disabled {
            try machine.write("/proc/sys/kernel/kexec_load_disabled", disabled)
        } else {
            try FileManager.default.removeItem(atPath: path)
        }
        if let limit { try machine.write("/proc/sys/kernel/kexec_load_limit_reboot", limit) }
        #expect(try machine.situation().loading == loading)
    }

    @Test(
        arguments: [
            ("[none] integrity confidentiality", nil), ("none [integrity] confidentiality", "integrity"),
            ("none integrity [confidentiality]\n", "confidentiality"), ("", nil),
        ] as [(String, String?)])
    func lockdownIsRead(text: String, lockdown: String?) throws {
        let machine = try Machine()
        try machine.write("/sys/kernel/security/lockdown", text)
        #expect(try machine.situation().lockdown == lockdown)
    }

    @Test func secureBootIsRead() throws {
        let machine = try Machine()
        let path = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
        for (bytes, isOn) in [([6, 0, 0, 0, 1], true), ([6, 0, 0, 0, 0], false), ([6, 0, 0, 0], false)]
            as [([UInt8], Bool)]
        {
            try machine.write(path, bytes)
            #expect(try machine.situation().isSecureBoot == isOn)
        }
    }

    #if arch(x86_64)
        @Test func theNextReleaseNamesItsInitrd() throws {
            let machine = try Machine()
            try machine.write("/x/kernel", try MadeImage(version: "8.0.1 (build@host) #1 SMP").bytes())
            try machine.write("/boot/initrd.img-8.0.1", "initrd")
            try machine.write("/boot/initrd.img-7.3.4", "initrd")
            let next = try machine.situation(KexecChoice(kernel: FilePath("\(machine.root)/x/kernel"))).next
            #expect(next.initrd == .file(FilePath("\(machine.root)/boot/initrd.img-8.0.1")))
        }

        /// Formats are those of the image that runs, and not of a later build in its place.
        @Test func formatsAreThoseOfTheRunningBuild() throws {
            let machine = try Machine()
            #expect(try !machine.situation().running.hasLiveUpdate)
            try machine.write("/proc/cmdline", "quiet kho=on liveupdate=on\n")
            #expect(throws: KexecSituation.UnknownFormats.self) { try machine.situation().running.formats.get() }

            try machine.write("/boot/vmlinuz-7.3.4", try MadeImage().bytes())
            let running = try machine.situation().running
            #expect(running.hasLiveUpdate)
            #expect(try running.formats.get() == KernelFormats(["kho-v4", "luo-v5", "memfd-v2"]))

            for version in ["7.3.4 (build@host) #3 SMP", "7.3.5 (build@host) #2 SMP", "7.3.40 (build@host) #2 SMP"] {
                try machine.write("/boot/vmlinuz-7.3.4", try MadeImage(version: version).bytes())
                #expect(throws: KexecSituation.UnknownFormats.self, "\(version)") {
                    try machine.situation().running.formats.get()
                }
            }
            try machine.write("/x/running", try MadeImage(kernel: MadeImage.kernel(["kho-v3"])).bytes())
            let choice = KexecChoice(runningKernel: FilePath("\(machine.root)/x/running"))
            #expect(try machine.situation(choice).running.formats.get() == KernelFormats(["kho-v3"]))
        }
    #endif
}
