// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// `luoctl status`
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the state of luod: sessions, files, shared state and the arena's use.",
        discussion: """
            Each user sees their own sessions, root all. A line says whether the kernel has a Live Update Orchestrator \
            of its own, and whether that is switched on; this line comes without a luod, too. Root also sees a line about \
            the last luoctl kexec.
            """)

    @OptionGroup var options: UserOptions

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    @Flag(help: "Once a second, until it is interrupted.")
    var watch = false

    func run() throws {
        var failure: Errno?
        var hasShown = false
        do {
            try options.run { device throws(LiveUpdateError) in
                repeat {
                    let text = try shown(device)
                    show(text)
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
    }

    private func shown(_ device: LiveUpdateDevice) throws(LiveUpdateError) -> String {
        let status = try LuodStatus(of: device)
        let kernel = KernelOrchestrator.current()
        // Without a record, or the right to read it, the status has no such line.
        let update = try? KernelUpdateFile(state: options.daemon.state).report()
        return json
            ? jsonText(DaemonStatusReport(status, kernel, update)) : StatusText(status, kernel, update).text
    }

    private func show(_ text: String) {
        let clear = watch && isatty(STDOUT_FILENO) == 1 ? "\u{1B}[H\u{1B}[2J" : ""
        print(clear + text)
    }
}
