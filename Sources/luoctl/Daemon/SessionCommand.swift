import ArgumentParser
import Glibc
import LiveUpdateDevice

/// `luoctl session`
struct SessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session",
        abstract: "Make sessions of luod, claim them and remove them.",
        discussion: """
            A session is a named set of files. These are detached: they live until they are finished or removed, not \
            until this command ends, and over updates.
            """,
        subcommands: [CreateSessionCommand.self, AttachSessionCommand.self, RemoveSessionCommand.self])
}

/// Which of two sessions of the same name.
struct DirectionOptions: ParsableArguments {
    @Flag(help: "The one that was made since the last update.")
    var outgoing = false

    @Flag(help: "The one that the last update handed over.")
    var incoming = false

    func validate() throws {
        guard !outgoing || !incoming else { throw ValidationError("say either --outgoing or --incoming") }
    }

    /// Nil when it does not matter: of two the outgoing one, which is newer.
    var direction: Direction? { outgoing ? .outgoing : incoming ? .incoming : nil }
}

/// `luoctl session create`
struct CreateSessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a session, for files that are to be preserved.")

    @OptionGroup var options: DaemonOptions

    @Argument(help: "1 to 63 bytes, of which \\xNN is one; each user has names of their own.")
    var name: SessionName

    func run() throws {
        try options.run { device throws(LiveUpdateError) in _ = try device.createDetached(name) }
    }
}

/// `luoctl session attach`
struct AttachSessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach", abstract: "Claim a session that nobody holds, so that it stays.",
        discussion: "Of one that an update handed over, too: it is detached from then on.")

    @OptionGroup var options: DaemonOptions

    @OptionGroup var which: DirectionOptions

    @Argument(help: "The session.")
    var name: SessionName

    func run() throws {
        try options.run { device throws(LiveUpdateError) in _ = try device.openAny(name, which.direction) }
    }
}

/// `luoctl session rm`
struct RemoveSessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove a session, and let go of its files.",
        discussion: """
            Memory that nobody else has open or mapped is free then. Root removes another user's session as that user: \
            setpriv --reuid USER luoctl session rm NAME.
            """)

    @OptionGroup var options: DaemonOptions

    @OptionGroup var which: DirectionOptions

    @Argument(help: "The session.")
    var name: SessionName

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            try checkThatItIsOwn(device)
            let session = try device.openAny(name, which.direction)
            do throws(LiveUpdateError) {
                try session.finish()
            } catch {
                // An outgoing one has nothing to finish.
                guard error.errno == .invalidArgument else { throw error }
            }
            try session.letEnd()
        }
    }

    /// Where root has none of that name luod would take somebody else's.
    private func checkThatItIsOwn(_ device: LiveUpdateDevice) throws(LiveUpdateError) {
        let named = try DaemonStatus(of: device).sessions.filter { SessionName(described: $0.name) == name }
        guard let other = named.first, !named.contains(where: { $0.owner == geteuid() }) else { return }
        throw LiveUpdateError(
            .notPermitted, "session \"\(name)\" is user \(other.owner)'s",
            remedy: "if it is meant: setpriv --reuid \(other.owner) --clear-groups luoctl session rm …")
    }
}
