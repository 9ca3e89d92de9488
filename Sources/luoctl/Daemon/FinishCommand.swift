import ArgumentParser
import LiveUpdateDevice

/// `luoctl finish`
struct FinishCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "finish", abstract: "Let go of the files of a session that an update handed over, and end it.",
        discussion: "Retrieved or not. What programs have open or mapped stays theirs.")

    @OptionGroup var options: DaemonOptions

    @Option(help: "The session.")
    var session: SessionName

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            let session = try device.openIncoming(session)
            try session.finish()
            try session.letEnd()
        }
    }
}
