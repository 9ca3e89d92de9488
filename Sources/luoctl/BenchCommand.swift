// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage

/// `luoctl bench`: this process becomes luo-bench, which has the benchmark's options.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure what preserving memory costs, beside the least that C needs for it.")

    @Argument(
        parsing: .captureForPassthrough, help: "The scenarios and options: luoctl bench --help lists them.",
        completion: .list(["hugetlb", "memfd", "files", "sessions", "update", "run", "verify", "compare"]))
    var arguments: [String] = []

    /// - Throws: exit code 69 if luo-bench is missing or cannot be executed.
    func run() throws {
        if arguments.first == BenchKexecCommand.name {
            return BenchKexecCommand.main(Array(arguments.dropFirst()))
        }
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

/// `luoctl bench kexec`: the blackout of the last kernel update. It is read from the record of the update and not
/// measured again, so luo-bench is not needed for it.
struct BenchKexecCommand: ParsableCommand {
    static let name = "kexec"
    static let configuration = CommandConfiguration(
        commandName: "luoctl bench \(name)",
        abstract: "Show the blackout of the last replacement of the kernel, which luoctl kexec has recorded.",
        discussion: "luoctl kexec --report --json prints the same for machines.")

    @OptionGroup var daemon: DaemonOptions

    /// - Throws: exit code 69 without a kernel update that was measured.
    func run() throws {
        let file = KernelUpdateFile(state: daemon.state)
        let report: KernelUpdateReport
        do {
            report = try file.report()
        } catch {
            throw file.exit(error)
        }
        let text = KernelUpdateText(report)
        guard report.outcome == .replaced else {
            throw Exit.unavailable("nothing to show: \(text.line); luoctl kexec makes a new record")
        }
        print("\(Self.name)\n\(text.parts)")
    }
}
