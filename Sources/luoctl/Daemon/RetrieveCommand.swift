// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol

/// `luoctl retrieve`
struct RetrieveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retrieve",
        abstract: "Run a program with files of a session as its descriptors 3, 4 and so on.",
        discussion: """
            In the order of the tokens. This command becomes the program (execve), which is searched for in PATH. \
            The session stays until luoctl finish. With --take the files leave their session only when all of them \
            are here and the program can be executed; if it cannot be executed after all, they are put back. \
            Exit code: the program's own; 127 when it is not found, 126 when it cannot be executed.
            """)

    @OptionGroup var options: UserOptions

    @Option(help: "The session: one that an update handed over.")
    var session: SessionName

    @OptionGroup var files: TokenOptions

    private var tokens: [UInt64] { files.tokens }

    @Flag(help: "Get the files of a session made since the last update, and unpreserve them.")
    var take = false

    @Flag(help: "Also files that the update left out (luoctl update --leave-out): as they are, without their handlers.")
    var asHeld = false

    @Argument(parsing: .postTerminator, help: ArgumentHelp("The program.", valueName: "program"))
    var command: [String] = []

    func validate() throws {
        guard let program = command.first, !program.isEmpty else {
            throw ValidationError("say which program is to have the files, behind --")
        }
        guard !take || Set(tokens).count == tokens.count else {
            throw ValidationError("a file can be taken once: one of the tokens is there twice")
        }
        guard !take || !asHeld else {
            throw ValidationError("say either --take or --as-held: an update leaves out no file of a newer session")
        }
    }

    func run() throws {
        let images = Execution.images(command)
        if let obstacle = Execution.obstacle(images) {
            let files = take ? "nothing was taken" : "the files are in their session"
            Exit.say("\(command[0]): \(obstacle.errno); \(files)")
            throw obstacle.code
        }
        var descriptors = try reservedDescriptors()
        var code: ExitCode?
        try options.run(session) { device throws(LiveUpdateError) in
            code = take ? try taken(on: device, images, &descriptors) : try retrieved(on: device, images, &descriptors)
        }
        if let code { throw code }
    }

    private func reservedDescriptors() throws -> GivenDescriptors {
        do throws(LiveUpdateError) {
            return try GivenDescriptors(count: tokens.count)
        } catch {
            throw Exit.failed(error)
        }
    }

    // MARK: Incoming

    /// - Returns: only when the program cannot be executed.
    private func retrieved(
        on device: LiveUpdateDevice, _ images: [ProgramImage], _ descriptors: inout GivenDescriptors
    ) throws(LiveUpdateError) -> ExitCode {
        let opened = try device.openIncoming(session)
        for token in tokens {
            let file = asHeld ? try opened.retrieveAsHeld(token: token) : try opened.retrieve(token: token)
            try descriptors.add(file, token)
        }
        return Execution.become(
            images, called: command[0], remedy: "the files are in their session: retrieve them with another program")
    }

    // MARK: Outgoing

    /// - Returns: only when the program cannot be executed.
    private func taken(
        on device: LiveUpdateDevice, _ images: [ProgramImage], _ descriptors: inout GivenDescriptors
    ) throws(LiveUpdateError) -> ExitCode {
        let opened = try device.attachSession(session, .outgoing)
        let known = try LuodStatus(of: device).session(session, .outgoing, of: options.actingUser)?.files ?? []
        for token in tokens { try descriptors.add(try opened.get(token: token), token) }
        var taking = try FileTaking(
            session: opened,
            files: zip(tokens, descriptors.all).map { token, descriptor in
                let isHeld = known.contains { $0.token == "\(token)" && $0.isHeld }
                return FileTaking.File(token: token, descriptor: descriptor, isHeld: isHeld)
            }, TakeGuard.Place(state: options.daemon.state, user: options.user?.number, session: session))
        try taking.unpreserve()
        return taking.become(images, called: command[0])
    }
}

extension GivenDescriptors {
    fileprivate mutating func add(_ file: consuming OwnedDescriptor, _ token: UInt64) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            try add(file)
        } catch {
            throw LiveUpdateError(error, "the descriptor of token \(token) for the program")
        }
    }
}

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
