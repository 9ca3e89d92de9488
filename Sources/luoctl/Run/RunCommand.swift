// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import SystemPackage

/// `luoctl run`
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a program that finds /dev/liveupdate, served by luod.",
        discussion: """
            The program, and all that it starts, is as it is without this command, but for that file: docs/run.md. \
            This command becomes the program (execve), which is searched for in PATH. \
            Exit code: the program's own; 127 when it is not found, 126 when it cannot be executed.
            """)

    @Option(
        help: "The state directory of a luod that runs; without, one is started that ends with the program.",
        completion: .directory)
    var state: String?

    @OptionGroup var waiting: TimeoutOption

    @Option(
        help: "Without --state: play an older kernel: 7.0, 7.2 or 7.3.", completion: .list(["7.0", "7.2", "7.3"]))
    var asKernel: String?

    @Argument(parsing: .postTerminator, help: ArgumentHelp("The program.", valueName: "program"))
    var command: [String] = []

    func validate() throws {
        guard let program = command.first, !program.isEmpty else {
            throw ValidationError("say which program, behind --")
        }
        guard state != "" else { throw ValidationError("an empty path is no state") }
        if let asKernel {
            guard ["7.0", "7.2", "7.3"].contains(asKernel) else {
                throw ValidationError("--as-kernel is 7.0, 7.2 or 7.3")
            }
            guard state == nil else {
                throw ValidationError("--as-kernel is for luod itself then: luod --as-kernel \(asKernel)")
            }
        }
    }

    func run() throws {
        let kernel = KernelOrchestrator.current()
        if kernel.isOn {
            Exit.say(
                "this kernel has \(KernelOrchestrator.devicePath) already; the program gets the device of luod, "
                    + "which also takes files on huge pages")
        }
        let filter = try Self.filter()
        var images = Execution.images(command)
        let own = state == nil ? try PrivateDaemon(asKernel) : nil
        let place = state ?? own?.state
        // Other programs that the program starts, such as luoctl update, find luod by this variable, too.
        if let place { images = images.map { $0.setting("LUO_STATE", absolutePath(place)) } }
        let connection = DaemonConnection(
            state: place, timeout: waiting.timeout,
            remedyWithoutRight: "without --state the program gets a luod of its own")
        try connection.use { device throws(LiveUpdateError) in
            try device.ping()
            // From here on, this process opens nothing until its calls are served.
            device.patience?.openNothing()
            let listener: OwnedDescriptor
            do throws(SystemCallError) {
                listener = try filter.install()
            } catch {
                throw Self.refused(error)
            }
            try device.serve(programsUnder: listener.borrowed)
            try Self.checkThatItIsSeen(kernel)
        }
        throw Execution.become(
            images, called: command[0], remedy: "no program was started; look at its path and its mode")
    }

    /// Makes the filter, and checks that the kernel has what luod needs to answer a program's calls.
    private static func filter() throws -> CallFilter {
        do throws(SystemCallError) {
            try ProgramAccess.check()
            return try CallFilter()
        } catch {
            throw Exit.unavailable(unavailable(error))
        }
    }

    /// The message when the kernel lacks a system call, or libseccomp finds that the kernel lacks a part of seccomp(2).
    private static func unavailable(_ error: SystemCallError) -> String {
        guard "\(error.call)" == "seccomp" else {
            return "luod cannot look into a program: \(error); use Linux 5.9 or later, with CONFIG_CROSS_MEMORY_ATTACH"
        }
        return "this kernel cannot notify luod of a program's system calls: \(error); \(remedyWithoutNotifications)"
    }

    private static let remedyWithoutNotifications =
        "use Linux 5.9 or later, with CONFIG_SECCOMP_FILTER; or use luod's socket: docs/protocol.md"

    /// Checks that luod serves this process's opens.
    private static func checkThatItIsSeen(_ kernel: KernelOrchestrator) throws(LiveUpdateError) {
        guard kernel.hasFile ? isAnsweredByLuod : isThere else {
            throw LiveUpdateError(
                .notPermitted,
                "luod may not look into this process, so the program would not find the device of luod at "
                    + "\(KernelOrchestrator.devicePath)",
                remedy:
                    "start luod as root, with CAP_SYS_PTRACE; or as the same user, where kernel.yama.ptrace_scope is 0")
        }
    }

    /// Whether the device is there. It is not a directory, so opening it as a directory fails with ENOTDIR. If luod
    /// does not answer the calls, the path does not exist.
    private static var isThere: Bool {
        do throws(SystemCallError) {
            try systemCall("open") {
                unsafe Glibc.open(KernelOrchestrator.devicePath, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            }
            return false
        } catch {
            return error.errno == .notDirectory
        }
    }

    /// Whether the device at the path is that of luod, which is a socket, and not that of the kernel. If a program has
    /// it open, no process can tell, and this is true.
    private static var isAnsweredByLuod: Bool {
        do throws(SystemCallError) {
            let device = try openForWriting(KernelOrchestrator.devicePath)
            return try FileStatus(of: device.borrowed).type == .socket
        } catch {
            return error.errno == .resourceBusy
        }
    }

    private static func refused(_ error: SystemCallError) -> LiveUpdateError {
        switch error.errno {
        case .resourceBusy:
            LiveUpdateError(
                error.errno, "this process runs under luoctl run, or another listener, already",
                remedy: "run the program without luoctl run: it finds /dev/liveupdate")
        // A kernel without seccomp(2), without its filters, and before Linux 5.0.
        case .noFunction, .invalidArgument:
            LiveUpdateError(
                error.errno, "this kernel cannot notify luod of a program's system calls",
                remedy: remedyWithoutNotifications)
        default: LiveUpdateError(error.errno, "the filter cannot be installed")
        }
    }
}
