import ArgumentParser
import Foundation

/// The exit codes of this program: those of sysexits(3), where it has one.
enum Exit {
    /// A malformed input or a wrong argument: 64.
    static func usage(_ message: String) -> ExitCode { fail(message, 64) }
    /// What is needed is not here: 69.
    static func unavailable(_ message: String) -> ExitCode { fail(message, 69) }
    /// A check failed: 1.
    static func failed(_ message: String) -> ExitCode { fail(message, 1) }

    private static func fail(_ message: String, _ code: Int32) -> ExitCode {
        FileHandle.standardError.write(Data("luoctl: \(message)\n".utf8))
        return ExitCode(code)
    }
}
