import ArgumentParser
import LiveUpdateDevice
import Platform

/// `luoctl retrieve`
struct RetrieveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retrieve",
        abstract: "Run a program with files of a session as its descriptors 3, 4 and so on.",
        discussion: """
            In the order of the tokens. This command becomes the program (execve), which is searched for in PATH. \
            The session stays until luoctl finish. \
            Exit code: the program's own; 127 when it is not found, 126 when it cannot be executed.
            """)

    @OptionGroup var options: DaemonOptions

    @Option(help: "The session: one that an update handed over.")
    var session: SessionName

    @Option(name: .customLong("token"), help: "A file of it; several times for several.")
    var tokens: [UInt64]

    @Flag(help: "Of a session made since the last update: take the files back, and let go of them.")
    var take = false

    @Argument(parsing: .postTerminator, help: ArgumentHelp("The program.", valueName: "program"))
    var command: [String] = []

    func validate() throws {
        guard !tokens.isEmpty else { throw ValidationError("say which files: --token") }
        guard let program = command.first, !program.isEmpty else {
            throw ValidationError("say which program is to have the files, behind --")
        }
    }

    func run() throws {
        var descriptors = GivenDescriptors(count: tokens.count)
        try options.run { device throws(LiveUpdateError) in
            let session = take ? try device.attachSession(session, .outgoing) : try device.openIncoming(session)
            for token in tokens {
                descriptors.add(take ? try session.take(token: token) : try session.retrieve(token: token))
            }
        }
        let code: ExitCode
        do throws(LiveUpdateError) {
            code = try descriptors.become(command)
        } catch {
            throw Exit.failed(error)
        }
        throw code
    }
}
