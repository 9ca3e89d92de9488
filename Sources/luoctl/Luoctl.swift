// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import Logging
import SystemPackage

/// The command line tool for users and administrators.
@main
struct Luoctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "luoctl",
        abstract: "Keep memory files where they are while programs are replaced.",
        discussion: """
            Exit codes: 0 worked, 1 a check failed, 64 usage or a malformed input, 69 not available here, \
            77 no permission. Messages go to standard error.
            """,
        version: packageVersion,
        subcommands: [
            DemoCommand.self, InspectCommand.self, CheckCommand.self, HugePagesCommand.self, BenchCommand.self,
            ReplayCommand.self,
            StatusCommand.self, SessionCommand.self, PreserveCommand.self, UnpreserveCommand.self,
            RetrieveCommand.self, FinishCommand.self, RunCommand.self, LoadCommand.self, UpdateCommand.self,
            ReloadCommand.self, StopCommand.self,
            PoolGuardCommand.self, DemoEndCommand.self, TakeGuardCommand.self,
        ])

    static func main() {
        unsafe Inherited.closed = openStandardDescriptors()
        // The reader of the output may end early. Without SIGPIPE, the command still ends its work, or undoes it if
        // necessary.
        unsafe Inherited.brokenPipe = signal(SIGPIPE, SIG_IGN)
        atexit {
            // A reader that has ended needs no more output. Output that a full disk did not take is missing.
            guard fflush(nil) != 0, errno != EPIPE else { return }
            _exit(Exit.unwritten(Errno(rawValue: errno)).rawValue)
        }
        LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
        main(CommandOptions.moved(arguments))
    }

    /// The arguments. An argument that is not UTF-8 is escaped like a session name, because Swift would replace all
    /// invalid bytes with the same character.
    private static var arguments: [String] {
        (1..<max(1, Int(CommandLine.argc))).compactMap { index in
            guard let argument = unsafe CommandLine.unsafeArgv[index] else { return nil }
            if let text = unsafe String(validatingCString: argument) { return text }
            let bytes = unsafe UnsafeRawBufferPointer(start: argument, count: strlen(argument))
            return unsafe SessionName(bytes: bytes).description
        }
    }
}

/// The options that may also stand before the command: `luoctl --user 2002 session list`.
enum CommandOptions {
    private static let names = ["--user", "--state", "--timeout"]

    /// Moves these options behind the command.
    static func moved(_ arguments: [String]) -> [String] {
        var rest = arguments[...]
        var options: [String] = []
        while let first = rest.first, let count = length(of: first), rest.count > count {
            options += rest.prefix(count)
            rest = rest.dropFirst(count)
        }
        // The options go before the terminator, because the arguments behind it belong to another program.
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return rest[..<end] + options + rest[end...]
    }

    /// The number of arguments of one of these options with its value; nil for any other argument.
    private static func length(of argument: String) -> Int? {
        if names.contains(argument) { return 2 }
        return names.contains { argument.hasPrefix("\($0)=") } ? 1 : nil
    }
}

/// The inherited state that this process has changed. Programs that it executes must get the original state.
enum Inherited {
    /// The inherited handler of SIGPIPE, saved before anything else.
    nonisolated(unsafe) static var brokenPipe: (@convention(c) (CInt) -> Void)? = SIG_DFL

    /// The standard descriptors that were closed.
    nonisolated(unsafe) static var closed: [FileDescriptor] = []

    static func restore() {
        _ = unsafe signal(SIGPIPE, brokenPipe)
        for descriptor in unsafe closed { try? descriptor.setCloseOnExec(true) }
    }
}
