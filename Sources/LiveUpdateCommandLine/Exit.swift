// SPDX-License-Identifier: Apache-2.0
package import ArgumentParser
import Glibc
package import SystemPackage

/// The exit codes of luoctl and luo-bench. They are those of sysexits(3) where sysexits(3) has a code for the case.
package enum Exit {
    /// A malformed input or a wrong argument: 64.
    package static func usage(_ message: String) -> ExitCode { fail(message, 64) }
    /// A resource or a program that the command needs is missing: 69.
    package static func unavailable(_ message: String) -> ExitCode { fail(message, 69) }
    /// A right is missing: 77.
    package static func permission(_ message: String) -> ExitCode { fail(message, 77) }
    /// A signal ended the command: 128 and its number, as in shells.
    package static func interrupted(_ message: String, _ signal: Int32) -> ExitCode { fail(message, 128 + signal) }
    /// A check failed: 1.
    package static func failed(_ message: String) -> ExitCode { fail(message, 1) }

    /// The output could not be written: 69.
    package static func unwritten(_ errno: Errno) -> ExitCode { unavailable("the output cannot be written: \(errno)") }

    private static func fail(_ message: String, _ code: Int32) -> ExitCode {
        say(message)
        return ExitCode(code)
    }

    /// Prints a line on standard error. Errors do not matter, because there may be no reader.
    package static func say(_ message: String) {
        let line = "luoctl: \(message)\n"
        _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
    }
}

extension ParsableCommand {
    /// Ends the process with the exit code of an error. The message for a wrong argument has the form of luoctl's
    /// other messages.
    ///
    /// - Parameters:
    ///   - error: the error of the parser or of the command.
    ///   - other: the message for a wrong argument, if it is clearer than that of the parser.
    package static func end(with error: any Error, saying other: String? = nil) -> Never {
        let message = fullMessage(for: error)
        let prefix = "Error: "
        guard message.hasPrefix(prefix) else { exit(withError: error) }
        Exit.say(other ?? String(message.dropFirst(prefix.count)))
        exit(withError: exitCode(for: error))
    }
}
