// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform

/// A program of the system, in comparisons with this library.
enum BenchTool {
    /// The path of a program in `PATH`.
    static func path(_ name: String) -> String? {
        (environmentVariable("PATH") ?? "").split(separator: ":").map { "\($0)/\(name)" }
            .first { unsafe access($0, X_OK) == 0 }
    }

    /// Runs a program. Returns its output with its error messages, and its exit status.
    static func run(_ path: String, _ arguments: [String]) throws -> (output: String, status: CInt) {
        let child = try shell("exec \"$@\" 2>&1", [path] + arguments)
        var lines: [String] = []
        while let line = child.readLine() { lines.append(line) }
        return (lines.joined(separator: "\n"), child.finish())
    }

    /// Starts a shell script with arguments.
    static func shell(_ script: String, _ arguments: [String]) throws -> ChildProcess {
        try ChildProcess.start(
            ProgramImage(path: "/bin/sh", arguments: ["sh", "-c", script, "luoctl-bench"] + arguments))
    }
}
