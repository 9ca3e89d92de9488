// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// `luoctl bench`: this process becomes luo-bench, which has the benchmark's options.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure what preserving memory costs, beside the least that C needs for it.")

    @Argument(parsing: .captureForPassthrough, help: "The scenarios and options: luoctl bench --help lists them.")
    var arguments: [String] = []

    /// - Throws: exit code 69 if luo-bench is missing or cannot be executed.
    func run() throws {
        var image = ProgramImage(
            path: FilePath(try NeighbourProgram.path("luo-bench", installed: "../libexec/liveupdate")),
            arguments: ["luo-bench"] + arguments)
        // Swift strings would change arguments that are not UTF-8, so luo-bench gets the bytes of this process. If an
        // option stood before the command, the order is another one, and luo-bench gets the strings.
        if CommandLine.arguments.dropFirst().first == "bench" { image.ownArguments = arguments.count }
        Inherited.restore()
        do {
            try image.execute()
        } catch {
            throw Exit.unavailable("\(image.path): \(error)")
        }
    }
}
