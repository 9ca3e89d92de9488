import ArgumentParser
import Logging
import Platform

/// The command line: what a user or an administrator asks.
@main
struct Luoctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "luoctl",
        abstract: "Keep memory files where they are while programs are replaced.",
        discussion: """
            Exit codes: 0 worked, 1 a check failed, 64 usage or a malformed input, 69 not available here. \
            Messages go to standard error.
            """,
        version: "0.1.0",
        subcommands: [DemoCommand.self, ReplayCommand.self, PoolGuardCommand.self])

    static func main() {
        openStandardDescriptors()
        LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
        main(nil)
    }
}
