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
            The session stays until luoctl finish. With --take, what cannot be given to the program is put back. \
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
        guard !take || Set(tokens).count == tokens.count else {
            throw ValidationError("a file can be taken once: one of the tokens is there twice")
        }
    }

    func run() throws {
        let images = Execution.images(command)
        if take, let obstacle = Execution.obstacle(images) {
            Exit.say("\(command[0]): \(obstacle.errno); nothing was taken")
            throw obstacle.code
        }
        var descriptors = GivenDescriptors(count: tokens.count)
        try options.run { device throws(LiveUpdateError) in
            let session = take ? try device.attachSession(session, .outgoing) : try device.openIncoming(session)
            do throws(LiveUpdateError) {
                for token in tokens {
                    descriptors.add(take ? try session.get(token: token) : try session.retrieve(token: token))
                }
            } catch {
                if take { putBack(descriptors, session) }
                throw error
            }
        }
        let code: ExitCode
        do throws(LiveUpdateError) {
            code = try descriptors.become(
                images, called: command[0],
                remedy: "the files are in their session: retrieve them with another program")
        } catch {
            try putBack(descriptors)
            throw Exit.failed(error)
        }
        try putBack(descriptors)
        throw code
    }

    /// This process may be the only one that has them.
    private func putBack(_ descriptors: GivenDescriptors) throws {
        guard take else { return }
        try options.run { device throws(LiveUpdateError) in
            putBack(descriptors, try device.attachSession(session, .outgoing))
        }
    }

    private func putBack(_ descriptors: GivenDescriptors, _ session: DeviceSession) {
        for (token, descriptor) in zip(tokens, descriptors.all) {
            do throws(LiveUpdateError) {
                do throws(LiveUpdateError) {
                    try session.preserve(descriptor, token: token)
                } catch {
                    // It was no file that a handler takes, and was held.
                    guard error.errno == .noSuchFileOrDirectory else { throw error }
                    try session.preserveHeld(descriptor, token: token)
                }
            } catch {
                Exit.say("token \(token) cannot be put back, and is let go: \(error)")
            }
        }
    }
}
