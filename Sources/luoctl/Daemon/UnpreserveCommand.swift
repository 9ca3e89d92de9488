// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdateProtocol

/// `luoctl unpreserve`
struct UnpreserveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpreserve",
        abstract: "Remove files from a session that was made since the last update.",
        discussion: """
            Programs that have a file open or mapped go on with it. A memory file that no program has open or mapped \
            is gone. If one of the tokens is unknown, no file is removed.
            """)

    @OptionGroup var options: UserOptions

    @Option(help: "The session.")
    var session: SessionName

    @OptionGroup var files: TokenOptions

    private var tokens: [UInt64] { files.tokens }

    func validate() throws {
        guard Set(tokens).count == tokens.count else { throw ValidationError("one of the tokens is there twice") }
    }

    func run() throws {
        try options.run(session) { device throws(LiveUpdateError) in
            let opened = try device.attachSession(session, .outgoing)
            let status = try LuodStatus(of: device)
            let known = status.session(session, .outgoing, of: options.actingUser)?.files.map(\.token) ?? []
            for token in tokens where !known.contains("\(token)") {
                throw LiveUpdateError(
                    .noSuchFileOrDirectory, "session \"\(session)\" has no token \(token); nothing was removed",
                    remedy: "luoctl status lists the tokens")
            }
            for token in tokens { try opened.unpreserve(token: token) }
        }
    }
}
