// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdateProtocol

/// `luoctl session`
struct SessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session",
        abstract: "Make sessions of luod, attach them, list them and remove them.",
        discussion: """
            A session is a named set of files. These are detached: they live until they are finished or removed, not \
            until this command ends, and over updates. Each user has session names of their own.

            With --kernel-device, a session is one of the kernel's /dev/liveupdate, and ends with its last descriptor. \
            Then create and attach become a program that holds the session as descriptor 3, and preserve, retrieve and \
            finish find it if that program starts them: luoctl session create --kernel-device NAME -- sh. The session \
            must be open when the kernel is replaced. In the next kernel, attach opens it: files that are not \
            retrieved before its last close are lost. Only luod can list and remove sessions.
            """,
        subcommands: [
            CreateSessionCommand.self, AttachSessionCommand.self, ListSessionsCommand.self, RemoveSessionCommand.self,
        ])
}

/// The options that choose between two sessions of the same name.
struct DirectionOptions: ParsableArguments {
    @Flag(help: "The one that was made since the last update.")
    var outgoing = false

    @Flag(help: "The one that the last update handed over.")
    var incoming = false

    func validate() throws {
        guard !outgoing || !incoming else { throw ValidationError("say either --outgoing or --incoming") }
    }

    /// The chosen direction; nil for either. If both sessions exist, nil selects the outgoing one, which is newer.
    var direction: Direction? { outgoing ? .outgoing : incoming ? .incoming : nil }
}

/// The program that holds a session of the kernel's device.
struct HolderArgument: ParsableArguments {
    @Argument(
        parsing: .postTerminator,
        help: ArgumentHelp("With --kernel-device: the program that holds the session.", valueName: "program"))
    var command: [String] = []

    /// The name of the session and the program. A name that begins with a hyphen is the first argument behind `--`.
    func divided(_ name: SessionName?) throws -> (name: SessionName, program: [String]) {
        if let name { return (name, command) }
        guard let first = command.first else { throw ValidationError("say the name of the session") }
        let rest = command.dropFirst()
        return (SessionName(argument: first), Array(rest.first == "--" ? rest.dropFirst() : rest))
    }
}

/// `luoctl session create`
struct CreateSessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a session, for files that are to be preserved.")

    @OptionGroup var options: DeviceOptions

    @Argument(
        help: "1 to 63 bytes, of which \\xNN is one; each user has names of their own.",
        completion: CompletionKind.default)
    var name: SessionName?

    @OptionGroup var holder: HolderArgument

    func validate() throws { try options.validate(try holder.divided(name).program) }

    func run() throws {
        let (name, program) = try holder.divided(name)
        if options.kernelDevice {
            throw try KernelDevice.hold(name, in: program) { device throws(LiveUpdateError) in
                try device.createSession(name)
            }
        }
        try options.luod.run { device throws(LiveUpdateError) in _ = try device.createDetached(name) }
    }
}

/// `luoctl session attach`
struct AttachSessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach", abstract: "Attach a session without a holder, so that it stays.",
        discussion: "A session that an update handed over is detached from then on, too.")

    @OptionGroup var options: DeviceOptions

    @OptionGroup var which: DirectionOptions

    @Argument(help: "The session.")
    var name: SessionName?

    @OptionGroup var holder: HolderArgument

    func validate() throws {
        try options.validate(try holder.divided(name).program)
        guard !options.kernelDevice || !which.outgoing else {
            throw ValidationError("an outgoing session of the kernel has a holder, or has ended: leave out --outgoing")
        }
    }

    func run() throws {
        let (name, program) = try holder.divided(name)
        if options.kernelDevice {
            throw try KernelDevice.hold(name, in: program) { device throws(LiveUpdateError) in
                try device.retrieveSession(name)
            }
        }
        try options.luod.run(name) { device throws(LiveUpdateError) in
            _ = try device.openAny(name, which.direction)
        }
    }
}

/// `luoctl session list`
struct ListSessionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the sessions: direction, files, bytes and holder.",
        discussion: "Sorted by user, name and direction. Each user sees their own sessions, root all.")

    @OptionGroup var options: DeviceOptions

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    func run() throws {
        if options.kernelDevice {
            return try KernelDevice.use { device throws(LiveUpdateError) in _ = try device.status() }
        }
        try options.luod.run { device throws(LiveUpdateError) in
            let status = try LuodStatus(of: device)
            if let refusal = status.refusal {
                throw LiveUpdateError(
                    .ioError, "luod cannot read its state, and serves only root: \(refusal)",
                    remedy: "its files are held: start an image that can read the state (luoctl reload IMAGE)")
            }
            let list = SessionList(status)
            print(json ? jsonText(list) : list.text(withUsers: options.luod.actingUser == 0))
        }
    }
}

/// `luoctl session rm`
struct RemoveSessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove a session and its files from luod.",
        discussion: """
            The memory of a file that no program has open or mapped is free then. Without --force a session stays \
            while a client holds it, and while a handler cannot finish a file.
            """)

    @OptionGroup var options: DeviceOptions

    @OptionGroup var which: DirectionOptions

    @Flag(help: "Remove the session also while a client holds it, or a handler cannot finish a file: they are listed.")
    var force = false

    @Argument(help: "The session.")
    var name: SessionName

    func run() throws {
        if options.kernelDevice {
            return try KernelDevice.use { device throws(LiveUpdateError) in _ = try device.removeSession(name) }
        }
        try options.luod.run(name) { device throws(LiveUpdateError) in
            let overridden = try device.removeSession(name, which.direction, force: force)
            for line in overridden { print(line.shown) }
        }
    }
}
