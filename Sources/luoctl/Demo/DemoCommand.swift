import ArgumentParser
import Glibc
import LiveUpdate
import LiveUpdateEmbedded
import Platform

/// `luoctl demo`
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Keep real memory files and huge pages over real updates of this process.",
        discussion: """
            Makes memory files, half of them on huge pages, fills them, preserves them, replaces itself by execve, \
            and looks whether everything is still there: content, size, position, seals, holes, the same inode, the \
            same page frames. Huge pages that are missing are reserved, as root, and given back whatever happens. \
            Exit 0 only if everything held.
            """)

    @Option(help: "How many files; every second one is on huge pages.")
    var files = 4

    @Option(
        help: "The size of each file: a multiple of 2M, with K, M, G or T. (default: 256M)", transform: ByteCount.parse)
    var size: UInt64 = 256 << 20

    @Option(help: "How many updates, one after the other.")
    var updates = 1

    @Option(help: "What the content is made from.")
    var seed: UInt64 = 42

    @Flag(help: "Leave the huge page pool as it is: use what is free.")
    var noReserve = false

    @Flag(help: "Print JSON, for machines.")
    var json = false

    func validate() throws {
        guard (1...1000).contains(files) else { throw ValidationError("--files takes 1 to 1000") }
        guard (1...1000).contains(updates) else { throw ValidationError("--updates takes 1 to 1000") }
        guard size >= 2 << 20, size % (2 << 20) == 0, size <= 1 << 40 else {
            throw ValidationError("--size takes a multiple of 2M, from 2M to 1024G")
        }
    }

    func run() throws {
        // Each file has a descriptor of ours, one that is kept, and one that is inherited.
        DescriptorLimit.raise(to: 4 * files + 256)
        let counts = FLBCallCounts()
        let process: UpdatableProcess
        do {
            process = try UpdatableProcess { (orchestrator) throws(LiveUpdateError) in
                try DemoBoot.register(orchestrator, counts)
            }
        } catch {
            throw Exit.failed("\(error)")
        }
        do {
            let boot = DemoBoot(process, counts, self)
            if try process.orchestrator.status().updateNumber == 0 { try boot.first() }
            let report = try boot.next()
            print(json ? report.json : report.text)
            if !report.held { throw ExitCode(1) }
        } catch let error as LiveUpdateError {
            throw Exit.failed("\(error)")
        } catch let error as SystemCallError {
            throw Exit.failed("\(error)")
        }
    }
}

/// A number of bytes on the command line.
enum ByteCount {
    @Sendable
    static func parse(_ text: String) throws -> UInt64 {
        let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
        let unit = text.last.flatMap { units[Character($0.uppercased())] }
        let digits = unit == nil ? Substring(text) : text.dropLast()
        let (bytes, overflow) = (UInt64(digits) ?? 0).multipliedReportingOverflow(by: unit ?? 1)
        guard UInt64(digits) != nil, !overflow else {
            throw ValidationError("\"\(text)\" is no size: write a number with K, M, G or T, as in 256M")
        }
        return bytes
    }

    static func text(_ bytes: UInt64) -> String {
        for (unit, name) in [(UInt64(1) << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] where bytes >= unit {
            return bytes % unit == 0 ? "\(bytes / unit) \(name)" : "\(fixed(Double(bytes) / Double(unit), 1)) \(name)"
        }
        return "\(bytes) B"
    }
}

/// A number with a fixed number of decimals, without Foundation's locale.
func fixed(_ value: Double, _ decimals: Int) -> String {
    let scale = (0..<decimals).reduce(1.0) { scale, _ in scale * 10 }
    let scaled = UInt64((abs(value) * scale).rounded())
    guard decimals > 0 else { return (value < 0 ? "-" : "") + "\(scaled)" }
    let digits = String(scaled % UInt64(scale))
    let fraction = String(repeating: "0", count: decimals - digits.count) + digits
    return "\(value < 0 ? "-" : "")\(scaled / UInt64(scale)).\(fraction)"
}
