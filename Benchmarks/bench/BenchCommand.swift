// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import LiveUpdateBenchReport
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The command of luo-bench, the program that `luoctl bench` becomes by execve(2).
@main
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "luoctl bench",
        abstract: "Measure what preserving memory costs, beside the least that C needs for it.",
        discussion: """
            Scenarios: hugetlb, memfd, files, sessions, update, run, verify, compare; all of them without an argument. Ours and \
            the floor, a C program that does the least with the same system calls, are measured in turn in the same run. \
            Missing huge pages are reserved, as root, and returned whatever happens. The report names each measurement \
            that is not possible, with the remedy. docs/bench.md describes the scenarios and the JSON. luoctl bench kexec, alone, shows the blackout \
            of the last luoctl kexec.
            """,
        version: packageVersion)

    static func main() {
        Inherited.prepare()
        do {
            var command = try parseAsRoot(Inherited.arguments)
            try command.run()
        } catch {
            end(with: error)
        }
    }

    @Argument(help: "What to measure: hugetlb, memfd, files, sessions, update, run, verify or compare. (default: all)")
    var scenarios: [BenchScenario] = []

    @Flag(help: "Fewer sizes and rounds, with 256M at most: in less than a minute.")
    var quick = false

    @Option(
        help:
            "The most that the files of a scenario may take together: a number with K, M, G or T. (default: half of what is free, at most 4G)",
        transform: ByteCount.parse)
    var maxMemory: UInt64?

    @Flag(help: "Exit 1 when a ratio is beyond its limit.")
    var checkLimits = false

    @Flag(help: "Print JSON, for machines.")
    var json = false

    @Option(help: ArgumentHelp("Write a page that shows everything, without network.", valueName: "file"))
    var html: String?

    @Option(
        help: ArgumentHelp(
            "Compare with what --json printed before: exit 1 when something is slower beyond noise and tolerance.",
            valueName: "file"))
    var against: String?

    @Option(help: "How much slower than before is no failure, in percent.")
    var tolerance: Double = 10

    func validate() throws {
        if let maxMemory, !(64 << 20...1 << 50).contains(maxMemory) {
            throw ValidationError("--max-memory takes 64M to 1024T")
        }
        guard tolerance.isFinite, tolerance >= 0 else { throw ValidationError("--tolerance takes 0 or more") }
    }

    func run() throws {
        // Opening the files comes first, so that a wrong path is an error before the long measurements.
        let old = try against.map(EarlierRun.read)
        let page = try html.map(openPage)
        let document: BenchDocument
        do {
            document = try BenchSession(self).measure()
        } catch let error as SystemCallError {
            throw Exit.failed("\(error)")
        }
        print(json ? jsonText(document) : BenchText(document).text)
        if let page { try write(document, to: page) }
        try compare(document, with: old)
        let missed = document.targets.filter { !$0.isMet }
        if checkLimits, !missed.isEmpty {
            throw Exit.failed("promised, and not reached: \(missed.map(\.name).joined(separator: "; "))")
        }
    }

    /// Opens the page for writing, so that a path that cannot be written is an error before the measurements.
    ///
    /// An existing file is not replaced but written to, because it may be a link or a device.
    private func openPage(_ path: String) throws -> FileDescriptor {
        let file = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Exit.usage("--html \(path): \(Errno(rawValue: errno))") }
        return FileDescriptor(rawValue: file)
    }

    private func write(_ document: BenchDocument, to page: FileDescriptor) throws {
        do {
            // This fails for a device, which has no size.
            try? page.setSize(0)
            try page.writeAll(BenchPage(document).html.utf8)
        } catch {
            throw Exit.failed("\(html ?? "") could not be written: \(error)")
        }
    }

    private func compare(_ document: BenchDocument, with old: BenchDocument?) throws {
        guard let old else { return }
        let comparison: BenchComparison
        do {
            comparison = try BenchComparison(old: old, new: document, tolerance: tolerance / 100)
        } catch {
            throw Exit.usage("\(against ?? ""): \(error)")
        }
        // Standard output contains only the document if it is JSON.
        if json { Exit.say(text(comparison)) } else { print(text(comparison)) }
        if comparison.changes.isEmpty { throw Exit.failed("\(against ?? ""): nothing of it was measured now") }
        if comparison.hasRegressions { throw Exit.failed("slower than before: see the comparison") }
    }

    /// The comparison, escaped for a terminal: the older run is a file from an unknown source.
    private func text(_ comparison: BenchComparison) -> String {
        comparison.text.split(separator: "\n", omittingEmptySubsequences: false).map { String($0).shown }
            .joined(separator: "\n")
    }
}

/// Reads the document that `--json` printed in another run.
enum EarlierRun {
    /// - Throws: exit code 64, with the fault of the file.
    static func read(_ path: String) throws -> BenchDocument {
        let data = try InputFile.read(path)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            // The header comes first: a document with an unknown schema has only this part in common.
            try decoder.decode(BenchDocument.Header.self, from: data).check()
            return try decoder.decode(BenchDocument.self, from: data)
        } catch let error as BenchSchemaError {
            throw Exit.usage("\(path): \("\(error)".shown)")
        } catch {
            throw Exit.usage("\(path) is not what luoctl bench --json prints: keep its standard output alone in a file")
        }
    }
}
