import ArgumentParser
import Foundation
import Glibc
import LiveUpdateDevice

/// `luoctl status`
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what luod keeps: sessions, files, shared state and the arena's use.",
        discussion: "Each user sees their own sessions, root all.")

    @OptionGroup var options: DaemonOptions

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    @Flag(help: "Once a second, until it is interrupted.")
    var watch = false

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            repeat {
                let text = try shown(device)
                // Nobody reads it any more: then nobody watches.
                guard show(text) else { return }
            } while watch && sleep(1) == 0
        }
    }

    private func shown(_ device: LiveUpdateDevice) throws(LiveUpdateError) -> String {
        let text = try device.status()
        guard let status = try? JSONDecoder().decode(DaemonStatus.self, from: Data(text.utf8)) else {
            throw LiveUpdateError(
                .notSupported, "luod says its status in another way", remedy: "use the luoctl of its version")
        }
        return json ? jsonText(DaemonStatusReport(status)) : StatusText(status).text
    }

    private func show(_ text: String) -> Bool {
        let clear = watch && isatty(STDOUT_FILENO) == 1 ? "\u{1B}[H\u{1B}[2J" : ""
        do {
            try FileHandle.standardOutput.write(contentsOf: Data((clear + text + "\n").utf8))
            return true
        } catch {
            return false
        }
    }
}
