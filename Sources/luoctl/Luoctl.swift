// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateCore
import Logging

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
            StatusCommand.self, MetricsCommand.self, SessionCommand.self, PreserveCommand.self, UnpreserveCommand.self,
            VerifyCommand.self, RetrieveCommand.self, FinishCommand.self, RunCommand.self, LoadCommand.self,
            UpdateCommand.self,
            ReloadCommand.self, StopCommand.self, DaxCommand.self, KexecCommand.self,
            PoolGuardCommand.self, DemoEndCommand.self, TakeGuardCommand.self,
        ])

    static func main() {
        Inherited.prepare()
        LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
        let arguments = CommandOptions.moved(Inherited.arguments)
        // Only luo-bench knows the options of the benchmark, so luo-bench prints the help.
        run(arguments == ["help", "bench"] ? ["bench", "--help"] : arguments)
    }

    /// Runs a command.
    private static func run(_ arguments: [String]) {
        do {
            var command = try parseAsRoot(arguments)
            try command.run()
        } catch {
            let isWithoutCommand = arguments.first.map(CommandOptions.isOption) ?? false
            end(
                with: error,
                saying: isWithoutCommand
                    ? "there is no command behind \(arguments[0]); luoctl --help lists the commands" : nil)
        }
    }
}

/// The options that may also stand before the command: `luoctl --user 2002 session list`.
enum CommandOptions {
    private static let names = ["--user", "--state", "--timeout"]
    private static let flags = ["--kernel-device"]

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

    /// Whether an argument is one of these options.
    static func isOption(_ argument: String) -> Bool { length(of: argument) != nil }

    /// The number of arguments of one of these options with its value; nil for any other argument.
    private static func length(of argument: String) -> Int? {
        if flags.contains(argument) { return 1 }
        if names.contains(argument) { return 2 }
        return names.contains { argument.hasPrefix("\($0)=") } ? 1 : nil
    }
}
