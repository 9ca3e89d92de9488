// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateDevice

/// `luoctl finish`
struct FinishCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "finish", abstract: "Finish the files of a session that an update handed over, and end it.",
        discussion: "Also files that were not retrieved. Files that programs have open or mapped stay theirs.")

    @OptionGroup var options: UserOptions

    @Option(help: "The session.")
    var session: SessionName

    func run() throws {
        try options.run(session) { device throws(LiveUpdateError) in
            let session = try device.openIncoming(session)
            try session.finish()
            try session.letEnd()
        }
    }
}
