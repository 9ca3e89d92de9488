// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdateProtocol
import SystemPackage

/// The options of all commands that talk to `luod`.
struct DaemonOptions: ParsableArguments {
    @Option(help: "The state directory of luod. (default: $LUO_STATE, or /run/luo)", completion: .directory)
    var state: String?

    @OptionGroup var waiting: TimeoutOption

    func validate() throws {
        guard state != "" else {
            throw ValidationError("--state has an empty path: name the directory of luod's state")
        }
    }

    /// Connects to luod and uses the connection.
    func run(_ body: (LiveUpdateDevice) throws(LiveUpdateError) -> Void) throws {
        try DaemonConnection(state: state, timeout: waiting.timeout).use(body)
    }
}

/// The option of all commands that talk to `luod`, also of `luoctl run`.
struct TimeoutOption: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: """
            Seconds to wait for an answer; 0: for ever. Then luoctl asks whether luod answers at all: if so, it goes on \
            waiting; if not, it names the process that does not answer, and ends with 69. The request may still be done. \
            (default: 5)
            """, transform: NumberArgument.seconds)
    var timeout: UInt16 = 5
}

/// The options of commands that name sessions: a name means a session of one user.
struct UserOptions: ParsableArguments {
    @OptionGroup var daemon: DaemonOptions

    @Option(
        help: "Act as this user, by name or number: session names mean this user's sessions. Only root may.",
        completion: .shellCommand("grep -o '^[a-z_][a-z0-9_-]*' /etc/passwd"),
        transform: { try UserArgument($0) })
    var user: UserArgument?

    /// The user of the sessions that this command names.
    var actingUser: UInt32 { user?.number ?? geteuid() }

    /// Connects to luod as the user and uses the connection.
    func run(_ body: (LiveUpdateDevice) throws(LiveUpdateError) -> Void) throws {
        try connection.use(body)
    }

    /// Connects to luod as the user and opens a session of that user.
    func run(
        _ name: SessionName, _ body: (LiveUpdateDevice) throws(LiveUpdateError) -> Void
    ) throws {
        try connection.use { device throws(LiveUpdateError) in
            do throws(LiveUpdateError) {
                try body(device)
            } catch {
                throw namesakes(of: name, device).explain(error)
            }
        }
    }

    private var connection: DaemonConnection {
        // A user needs no right to act as itself.
        DaemonConnection(
            state: daemon.state, timeout: daemon.waiting.timeout,
            user: user.flatMap { $0.number == geteuid() ? nil : $0.number })
    }

    private func namesakes(of name: SessionName, _ device: LiveUpdateDevice) -> Namesakes {
        Namesakes(name, notOf: actingUser, in: (try? LuodStatus(of: device))?.sessions ?? [])
    }
}

/// The other users that have a session of some name. luod shows their sessions to root only.
struct Namesakes {
    private let name: SessionName
    private let users: [UInt32]

    init(_ name: SessionName, notOf user: UInt32, in sessions: [LuodStatus.Session]) {
        self.name = name
        let owners = sessions.filter { SessionName(described: $0.name) == name }.map(\.owner)
        // If the user has such a session, too, then the error is about that session.
        users = owners.contains(user) ? [] : Set(owners).sorted()
    }

    /// Adds the users that have a session of the name to an error that says that the session was not found.
    func explain(_ error: LiveUpdateError) -> LiveUpdateError {
        guard error.errno == .noSuchFileOrDirectory, let first = users.first else { return error }
        let all = users.map { "user \($0) has a session \"\(name)\"" }.joined(separator: ", ")
        return LiveUpdateError(
            error.errno, "\(error.reason); \(all)", remedy: "to act as that user: luoctl --user \(first) …")
    }
}

/// A connection to luod, with an exit code for each failure on it.
struct DaemonConnection {
    var state: String?
    /// The time to wait for an answer, in seconds; 0: for ever.
    var timeout: UInt16
    var user: UInt32?
    /// The remedy when this user may not connect.
    var remedyWithoutRight: String?

    func use(_ body: (LiveUpdateDevice) throws(LiveUpdateError) -> Void) throws {
        let state = state.map { FilePath($0) }
        let patience = timeout == 0 ? nil : AnswerPatience(state: state, seconds: timeout)
        let device: LiveUpdateDevice
        do {
            device = try LiveUpdateDevice.luod(state: state, patience: patience)
        } catch {
            guard error.errno == .permissionDenied else { throw Exit.unavailable("\(error)") }
            throw Exit.permission("\(error)\(remedyWithoutRight.map { "; \($0)" } ?? "")")
        }
        do throws(LiveUpdateError) {
            if let user { try device.act(as: user) }
            try body(device)
        } catch {
            if patience?.hasLapsed == true { throw Exit.unavailable("\(error.errno.symbol): \(error)") }
            throw Exit.failed(error)
        }
    }
}

extension Exit {
    /// Exit code 1, or 77 when a right is missing. The message has the errno's name.
    static func failed(_ error: LiveUpdateError) -> ExitCode {
        let list = ShownText.lines(error.reason)
        // A reason of several lines is a list with a heading.
        let lines =
            list.count > 1
            ? ["\(error.errno.symbol): \(list[0])"] + list.dropFirst() + (error.remedy.map { ["\($0.shown)"] } ?? [])
            : ShownText.lines("\(error.errno.symbol): \(error)")
        let message = ([lines.first ?? ""] + lines.dropFirst().map { "  \($0)" }).joined(separator: "\n")
        return [.notPermitted, .permissionDenied].contains(error.errno) ? permission(message) : failed(message)
    }
}
