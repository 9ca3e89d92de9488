// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// `luoctl retrieve`
struct RetrieveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retrieve",
        abstract: "Run a program with files of a session as its descriptors 3, 4 and so on.",
        discussion: """
            The files are in the order of the tokens. LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (SESSION/TOKEN) count \
            and name them for the program, as sd_listen_fds(3) reads them. Descriptors that were passed to this \
            command in this way come first. If another descriptor has the number of a file, nothing changes (exit code 64). \
            This command becomes the program (execve), which is searched for in PATH. \
            The session stays until luoctl finish. With --take the files leave their session only when all of them \
            are here and the program can be executed; if it cannot be executed after all, they are put back. \
            With --kernel-device this command must inherit the session, and the program gets it, too, as its last \
            descriptor. \
            Exit code: the program's own; 127 when it is not found, 126 when it cannot be executed.
            """)

    @OptionGroup var options: DeviceOptions

    @Option(help: "The session: one that an update handed over.")
    var session: SessionName

    @OptionGroup var files: TokenOptions

    private var tokens: [UInt64] { files.tokens }

    @Flag(help: "Get the files of a session made since the last update, and unpreserve them.")
    var take = false

    @Flag(help: "Also files that the update left out (luoctl update --leave-out): as they are, without their handlers.")
    var asHeld = false

    @Flag(
        help:
            "Compare the files with the checksums of luoctl preserve --attest first. If one differs, the program is not run."
    )
    var verify = false

    @OptionGroup var seeing: SeeingOptions

    @Argument(parsing: .postTerminator, help: ArgumentHelp("The program.", valueName: "program"))
    var command: [String] = []

    func validate() throws {
        guard let program = command.first, !program.isEmpty else {
            throw ValidationError("say which program is to have the files, behind --")
        }
        guard !take || Set(tokens).count == tokens.count else {
            throw ValidationError("a file can be taken once: one of the tokens is there twice")
        }
        guard !options.kernelDevice || (!take && !asHeld) else {
            throw ValidationError("--take and --as-held are for luod: leave them out, or leave out --kernel-device")
        }
        guard !verify || (!take && !options.kernelDevice) else {
            throw ValidationError(
                "--verify is for a session that an update handed over to luod: luoctl verify compares others")
        }
        guard !take || !asHeld else {
            throw ValidationError("say either --take or --as-held: an update leaves out no file of a newer session")
        }
    }

    func run() throws {
        let images = try Execution.images(
            command, otherwise: take ? "nothing was taken" : "the files are in their session")
        if options.kernelDevice { throw try retrievedOfKernel(images) }
        var descriptors = try GivenDescriptors(count: tokens.count)
        var code: ExitCode?
        try options.luod.run(session) { device throws(LiveUpdateError) in
            code = take ? try taken(on: device, images, &descriptors) : try retrieved(on: device, images, &descriptors)
        }
        if let code { throw code }
    }

    // MARK: Incoming

    /// - Returns: only when the program cannot be executed.
    private func retrieved(
        on device: LiveUpdateDevice, _ images: [ProgramImage], _ descriptors: inout GivenDescriptors
    ) throws(LiveUpdateError) -> ExitCode {
        let opened = try device.openIncoming(
            session, of: options.luod.actingUser, ifOutgoing: "luoctl retrieve --take gets its files")
        for token in tokens {
            let file = asHeld ? try opened.retrieveAsHeld(token: token) : try opened.retrieve(token: token)
            if verify { try compare(file.borrowed, token, opened, device) }
            try descriptors.add(file, session, token)
        }
        return Execution.become(
            descriptors.telling(images), called: command[0],
            remedy: "the files are in their session: retrieve them with another program")
    }

    /// Compares a file with its checksums in luod.
    ///
    /// - Throws: EBADMSG when the file differs; ENODATA for a file without checksums; EBUSY for a file that may change.
    private func compare(
        _ file: FileDescriptor, _ token: UInt64, _ opened: DeviceSession, _ device: LiveUpdateDevice
    ) throws(LiveUpdateError) {
        let stored = try opened.attestation(token: token)
        let status = try LuodStatus(of: device)
        guard let known = status.session(session, .incoming, of: options.luod.actingUser),
            let held = known.files.first(where: { $0.token == "\(token)" })
        else {
            throw LiveUpdateError(
                .badMessage, "token \(token) is not in the status of luod, so it was not compared",
                remedy: "repeat the command; the program was not run")
        }
        let result = try FileVerification(
            file, "token \(token)", status, showsProgress: true, ignoresUnseen: seeing.ignoreUnseen
        ).compared(with: stored, known, held)
        guard result.state != .same else { return }
        throw LiveUpdateError(
            .badMessage, result.words.joined(separator: "\n"),
            remedy: "retrieve the files without --verify to look at them; the program was not run")
    }

    /// Retrieves from a session of the kernel's device. The program holds the session, too: the other files are in it.
    ///
    /// - Returns: only when the program cannot be executed.
    private func retrievedOfKernel(_ images: [ProgramImage]) throws -> ExitCode {
        let opened: (session: DeviceSession, number: CInt)
        do throws(LiveUpdateError) {
            // The numbers that are reserved for the program may be those of the inherited session.
            let end = try GivenDescriptors.end(count: tokens.count + 1)
            guard let found = KernelDevice.inherited(session, from: end) else {
                throw KernelDevice.notInherited(session)
            }
            opened = found
        } catch {
            throw Exit.failed(error)
        }
        var descriptors = try GivenDescriptors(count: tokens.count + 1) { $0 == opened.number }
        do throws(LiveUpdateError) {
            for token in tokens { try descriptors.add(try opened.session.retrieve(token: token), session, token) }
            try descriptors.add(opened.session, session)
        } catch {
            throw Exit.failed(error)
        }
        return Execution.become(
            descriptors.telling(images), called: command[0],
            remedy: "the files are in their session while a program holds it")
    }

    // MARK: Outgoing

    /// - Returns: only when the program cannot be executed.
    private func taken(
        on device: LiveUpdateDevice, _ images: [ProgramImage], _ descriptors: inout GivenDescriptors
    ) throws(LiveUpdateError) -> ExitCode {
        let opened = try device.attachSession(session, .outgoing)
        let known = try LuodStatus(of: device).session(session, .outgoing, of: options.luod.actingUser)?.files ?? []
        for token in tokens { try descriptors.add(try opened.get(token: token), session, token) }
        var taking = try FileTaking(
            session: opened,
            files: zip(tokens, descriptors.all).map { token, descriptor in
                let isHeld = known.contains { $0.token == "\(token)" && $0.isHeld }
                return FileTaking.File(token: token, descriptor: descriptor, isHeld: isHeld)
            }, TakeGuard.Place(state: options.luod.daemon.state, user: options.luod.user?.number, session: session))
        try taking.unpreserve()
        return taking.become(descriptors.telling(images), called: command[0])
    }
}

extension GivenDescriptors {
    fileprivate mutating func add(
        _ file: consuming OwnedDescriptor, _ session: SessionName, _ token: UInt64
    ) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            try add(file, called: PassedFiles.name(session, token: token))
        } catch {
            throw LiveUpdateError(error, "the descriptor of token \(token) for the program")
        }
    }
}

/// `luoctl finish`
struct FinishCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "finish", abstract: "Finish the files of a session that an update handed over, and end it.",
        discussion: """
            Also files that were not retrieved. Files that programs have open or mapped stay theirs. With \
            --kernel-device the session is one that this command inherited, or else one that has not been opened.
            """)

    @OptionGroup var options: DeviceOptions

    @Option(help: "The session.")
    var session: SessionName

    func run() throws {
        if options.kernelDevice { return try finishOfKernel() }
        try options.luod.run(session) { device throws(LiveUpdateError) in
            let session = try device.openIncoming(
                session, of: options.luod.actingUser, ifOutgoing: "luoctl session rm ends it")
            try session.finish()
            try session.letEnd()
        }
    }

    private func finishOfKernel() throws {
        if KernelDevice.inherited(session) != nil {
            return try KernelDevice.useInherited(session) { session throws(LiveUpdateError) in try session.finish() }
        }
        try KernelDevice.use { device throws(LiveUpdateError) in try device.retrieveSession(session).finish() }
    }
}
