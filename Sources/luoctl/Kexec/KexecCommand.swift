// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage

/// `luoctl kexec`
struct KexecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kexec",
        abstract: "Replace the kernel, without a restart of the machine; sessions and files on DAX survive.",
        discussion: """
            First everything is checked, and all problems are listed at once, each with its remedy: exit code 1, or 77 \
            when only a right is missing. Then the next kernel is loaded, luod publishes its state, and the machine goes \
            over to the next kernel: through systemctl kexec, which stops all services, or at once where systemd does not \
            run. docs/kernel-update.md describes it. --report shows the last such update, under the next kernel.
            """)

    @Option(
        help: "The image of the next kernel. (default: /boot/vmlinuz- of the running release)", completion: .file())
    var kernel: String?

    @Option(
        help: "The initial RAM disk. (default: the one in /boot of the next kernel's release)", completion: .file())
    var initrd: String?

    @Flag(help: "Give the next kernel no initial RAM disk.")
    var noInitrd = false

    @Flag(help: "Take the running kernel's command line. This is the default.")
    var reuseCmdline = false

    @Option(help: "The command line of the next kernel.")
    var cmdline: String?

    @Option(help: "Arguments that are added to the command line.")
    var append = ""

    @Option(
        help: """
            The image of the running kernel, whose formats the next kernel must have where files go with the kernel's \
            Live Update Orchestrator. (default: /boot/vmlinuz- of the running release)
            """,
        completion: .file())
    var runningKernel: String?

    @Flag(help: "Go on when the formats in an image cannot be read or compared.")
    var uncheckedImage = false

    @Flag(help: "Go on when files have no carrier to the next kernel. They are lost.")
    var leaveBehind = false

    @Flag(help: "Go on when incoming sessions are not finished. They are lost.")
    var discard = false

    @Flag(
        help: """
            Go on without luod. Memory files of its sessions are lost. The next luod finds sessions of a state on DAX again, \
            and their files there.
            """)
    var withoutLuod = false

    @Flag(help: "Only check, and print the table of the files and their carriers.")
    var dryRun = false

    @Flag(help: "Only show the last replacement of the kernel: its times, files and accepted problems.")
    var report = false

    @Flag(help: "Print JSON, for machines: docs/kernel-update.md describes it.")
    var json = false

    @OptionGroup var daemon: DaemonOptions

    func validate() throws {
        guard cmdline == nil || !reuseCmdline else {
            throw ValidationError("--cmdline and --reuse-cmdline exclude each other")
        }
        guard initrd == nil || !noInitrd else { throw ValidationError("--initrd and --no-initrd exclude each other") }
        guard !report || isPlain else { throw ValidationError("--report takes no options but --json and --state") }
        for (option, value) in [("--kernel", kernel), ("--initrd", initrd), ("--running-kernel", runningKernel)]
        where value == "" {
            throw ValidationError("\(option) takes the path of a file")
        }
    }

    /// Whether no option asks for a replacement of the kernel.
    private var isPlain: Bool {
        [kernel, initrd, cmdline, runningKernel].allSatisfy { $0 == nil } && append.isEmpty && !noInitrd
            && !reuseCmdline && allowances.isEmpty && !dryRun
    }

    func run() throws {
        if self.report { return try showLast() }
        let luod = Self.find(daemon)
        let situation: KexecSituation
        let bootID: String
        do throws(SystemCallError) {
            bootID = try KernelUpdateFile.bootID()
            situation = try KexecSurvey().situation(choice, daemon: luod.survey(), allowances: allowances)
        } catch {
            throw Exit.unavailable("the kernel cannot be looked at: \(error); are /proc and /sys mounted?")
        }
        let report = KexecReport(situation: situation, preflight: KexecPreflight(situation), isDryRun: dryRun)
        print(json ? report.json : report.text)
        guard report.preflight.problems.isEmpty else {
            flushStandardOutput()
            let count = counted(report.preflight.problems.count, "problem")
            // A dry run would not have replaced it in any case.
            let message = "the kernel \(dryRun ? "cannot be" : "was not") replaced: \(count), see above"
            throw report.preflight.lacksOnlyRights ? Exit.permission(message) : Exit.failed(message)
        }
        if dryRun { return }
        flushStandardOutput()
        try KernelReplacement(situation: situation, preflight: report.preflight, bootID: bootID, luod: luod).run()
    }

    private func showLast() throws {
        let file = KernelUpdateFile(state: daemon.state)
        let last: KernelUpdateReport
        do {
            last = try file.report()
        } catch {
            throw file.exit(error)
        }
        print(json ? jsonText(KernelUpdateDocument(last)) : KernelUpdateText(last).text)
    }

    private var choice: KexecChoice {
        KexecChoice(
            kernel: kernel.map { FilePath(absolutePath($0)) },
            initrd: noInitrd ? .none : initrd.map { .file(FilePath(absolutePath($0))) } ?? .ofRelease,
            commandLine: cmdline.map { KernelCommandLine($0) }, appended: KernelCommandLine(append),
            runningKernel: runningKernel.map { FilePath(absolutePath($0)) })
    }

    private var allowances: KexecSituation.Allowances {
        var allowances: KexecSituation.Allowances = []
        if uncheckedImage { allowances.insert(.uncheckedImage) }
        if leaveBehind { allowances.insert(.leavingBehind) }
        if discard { allowances.insert(.discarding) }
        if withoutLuod { allowances.insert(.withoutDaemon) }
        return allowances
    }

    private static func find(_ options: DaemonOptions) -> any KernelUpdateDaemon {
        do throws(LiveUpdateError) {
            let state = options.state.map { FilePath($0) }
            let timeout = options.waiting.timeout
            let patience = timeout == 0 ? nil : AnswerPatience(state: state, seconds: timeout)
            return RunningDaemon(
                device: try LiveUpdateDevice.luod(state: state, patience: patience),
                state: LiveUpdateDevice.state(state).string, file: KernelUpdateFile(state: options.state))
        } catch {
            if error.errno == .permissionDenied { return HiddenDaemon(reason: error.reason) }
            return NoDaemon(reason: error.reason)
        }
    }
}

/// The stand-in for a luod to which this user may not connect. Only an update that goes on without luod uses it.
private struct HiddenDaemon: KernelUpdateDaemon {
    /// The reason in words.
    let reason: String

    func survey() -> KexecSituation.Daemon { .hidden(reason: reason) }
    func prepare(_ order: KernelUpdateOrder) {}
    func note(_ record: KernelUpdateRecord) {}
    func confirm() {}
    func takeBack() {}
}
