// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The paths of the measured and compared programs. They are beside luo-bench, after a build and after an installation.
struct BenchPrograms {
    enum Name: String, CaseIterable {
        case image = "luo-bench-image"
        case service = "luo-bench-service"
        case preserve = "luo-floor-preserve"
        case exec = "luo-floor-exec"
        case cycle = "luo-floor-cycle"
        case send = "luo-floor-send"
        case read = "luo-floor-read"
        case call = "luo-floor-call"
        case notify = "luo-floor-notify"
        case caller = "luo-bench-caller"
    }

    private let directory = NeighbourProgram.directory.string
    /// The path of luod.
    let daemon: String
    /// The path of luoctl, which runs programs for `luoctl run`, and the guards of huge pages.
    let luoctl: String

    /// - Throws: exit code 69, with advice, if a program is missing.
    init() throws {
        let missing = Name.allCases.map(\.rawValue).filter { [directory] in
            !NeighbourProgram.isExecutable("\(directory)/\($0)")
        }
        guard missing.isEmpty else {
            let names = missing.joined(separator: ", ")
            throw Exit.unavailable("\(names): missing in \(directory); \(NeighbourProgram.remedy)")
        }
        daemon = try NeighbourProgram.path("luod", installed: "../../sbin")
        luoctl = try NeighbourProgram.path("luoctl", installed: "../../bin")
    }

    func image(_ name: Name, _ arguments: [String]) -> ProgramImage {
        ProgramImage(path: FilePath(path(name)), arguments: [name.rawValue] + arguments)
    }

    func path(_ name: Name) -> String { "\(directory)/\(name.rawValue)" }
}

/// A floor that does one round for each line on its standard input.
final class FloorProcess {
    private let child: ChildProcess
    private let name: BenchPrograms.Name

    init(
        _ name: BenchPrograms.Name, _ arguments: [String], inherited: [FileDescriptor] = [], in programs: BenchPrograms
    ) throws {
        self.name = name
        child = try ChildProcess.start(programs.image(name, arguments), inherited: inherited)
    }

    /// Runs one round. Returns the nanoseconds of each of its parts.
    func round(count: Int = 1) throws -> [Double] {
        try child.write(line: "")
        return try child.times(of: name, count: count)
    }

    deinit { child.finish() }
}

extension ChildProcess {
    /// The numbers of the next line that the process prints.
    func times(of name: BenchPrograms.Name, count: Int) throws -> [Double] {
        let line = readLine() ?? ""
        let times = line.split(separator: " ").compactMap { Double($0) }
        guard times.count >= count else {
            throw LiveUpdateError(
                .ioError, "\(name.rawValue) ended\(line.isEmpty ? "" : ", and said: \(line)")",
                remedy: "its message on standard error says why")
        }
        return times
    }
}

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
