// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// `luoctl status`
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show whether luod is healthy, and its sessions; or the files of one session.",
        discussion: """
            The first line is the verdict: healthy, or what is wrong and the command that mends it. The exit code is 0 when \
            luod is healthy, 1 when it is degraded (files are lost, the keeper has died, or luod cannot read its state), and \
            69 when no luod runs. Each user sees their own sessions, root all. A line says whether the kernel has a Live Update Orchestrator \
            of its own, and whether that is switched on; this line comes without a luod, too. Root also sees a line about \
            the last luoctl kexec.
            """)

    @Argument(help: "Show the files of this session.")
    var session: SessionName?

    @OptionGroup var options: UserOptions

    @Flag(help: "Show luod's processes and their rights, too.")
    var processes = false

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    @Flag(help: "Once a second, until it is interrupted.")
    var watch = false

    func run() throws {
        var failure: Errno?
        var hasShown = false
        var isGood = true
        do {
            try options.run { device throws(LiveUpdateError) in
                repeat {
                    let status = try LuodStatus(of: device)
                    show(try shown(status))
                    isGood = isHealthy(status)
                    hasShown = true
                    if fflush(nil) != 0 { failure = Errno(rawValue: errno) }
                } while watch && failure == nil && sleep(1) == 0
            }
        } catch {
            if !hasShown {
                print(json ? jsonText(StatusReportWithoutDaemon(.current())) : KernelOrchestrator.current().text)
            }
            throw error
        }
        // No process reads the output any more.
        if let failure, failure != .brokenPipe { throw Exit.unwritten(failure) }
        guard isGood else { throw ExitCode(1) }
    }

    private func shown(_ status: LuodStatus) throws(LiveUpdateError) -> String {
        if let session { return try shown(session, in: status.sessions) }
        let kernel = KernelOrchestrator.current()
        // Without a record, or the right to read it, the status has no such line.
        let update = try? KernelUpdateFile(state: options.daemon.state).report()
        let verdict = StatusVerdict(status, state: options.daemon.state)
        return json
            ? jsonText(DaemonStatusReport(status, verdict, kernel, update))
            : StatusText(status, verdict, kernel, update, showsProcesses: processes).text
    }

    /// Whether luod is healthy, or only the session that was named.
    private func isHealthy(_ status: LuodStatus) -> Bool {
        guard let session else { return StatusVerdict(status).isHealthy }
        let named = status.sessions.filter { SessionName(described: $0.name) == session }
        return !named.contains { $0.files.contains(where: \.isLost) }
    }

    private func shown(_ name: SessionName, in all: [LuodStatus.Session]) throws(LiveUpdateError) -> String {
        let sessions = all.filter { SessionName(described: $0.name) == name }
        guard !sessions.isEmpty else {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "there is no session \"\(name)\"",
                remedy: "luoctl session list shows the sessions")
        }
        return json ? jsonText(SessionStatusReport(sessions)) : SessionStatusText(sessions).text
    }

    private func show(_ text: String) {
        let clear = watch && isatty(STDOUT_FILENO) == 1 ? "\u{1B}[H\u{1B}[2J" : ""
        print(clear + text)
    }
}
