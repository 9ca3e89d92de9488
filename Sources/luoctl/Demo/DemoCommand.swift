// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdate
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// `luoctl demo`
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Keep real memory files and huge pages over real updates of this process.",
        discussion: """
            Makes memory files, half of them on huge pages, fills them, preserves them, replaces itself by execve, \
            and looks whether everything is still there: content, size, position, seals, holes, the same inode, the \
            same page frames. Huge pages that are missing are reserved, as root, and given back whatever happens. \
            A run that was killed is found by the next one, which says what is still there. \
            Exit 0 only if everything held.
            """)

    @Option(help: "How many files; every second one is on huge pages. (default: 4, or 2 with pages of 1G)")
    var files: Int?

    @Option(
        help: "The size of each file: a multiple of the page size, with K, M, G or T. (default: 256M, or 1G)",
        transform: ByteCount.parse)
    var size: UInt64?

    @Option(help: "How many updates, one after the other.")
    var updates = 1

    @Option(help: "The seed of the content.")
    var seed: UInt64 = 42

    @Option(
        help: "The size of the huge pages: 2M or 1G. (default: 2M)", completion: .list(["2M", "1G"]),
        transform: ByteCount.parsePageSize)
    var pageSize: PageSize = .huge2M

    @Flag(help: "Give the files on huge pages a name on a hugetlbfs; one is mounted where there is none.")
    var hugetlbfs = false

    @Option(help: "Damage one thing before the first update, which must be noticed: content, size or pool.")
    var sabotage: DemoSabotage?

    @Option(help: "Die by SIGKILL after that many stores into the arena; then run the demo again.")
    var killAfter: UInt64?

    @Flag(help: "Leave the huge page pool as it is: use what is free.")
    var noReserve = false

    @Flag(help: "Print JSON, for machines.")
    var json = false

    var fileCount: Int { files ?? (pageSize == .huge1G ? 2 : 4) }
    var fileSize: UInt64 { size ?? max(256 << 20, pageSize.bytes) }
    /// Whether the chosen options make no sense without huge pages.
    var needsHugePages: Bool { hugetlbfs || pageSize != .huge2M || sabotage == .pool }

    func validate() throws {
        guard (1...1000).contains(fileCount) else { throw ValidationError("--files takes 1 to 1000") }
        guard (1...1000).contains(updates) else { throw ValidationError("--updates takes 1 to 1000") }
        guard fileSize >= pageSize.bytes, fileSize % pageSize.bytes == 0, fileSize <= DemoFile.largest else {
            throw ValidationError("--size takes a multiple of \(pageSize), from \(pageSize) to 1024G")
        }
        guard sabotage != .pool || pageSize == .huge2M else {
            throw ValidationError("--sabotage pool needs --page-size 2M: pages of 1G have no overcommit to change")
        }
    }

    func run() throws {
        // Each file needs a descriptor of this process, a held one, and an inherited one.
        DescriptorLimit.raise(to: 4 * fileCount + 256)
        DemoSignals.hold()
        let kill = try killAfter.map { try DemoKill(after: $0) }
        let hugeTLB = CountedHugeTLB(FLBCallCounts())
        do {
            let report = try begin(Arena.Options(probe: kill), hugeTLB).run()
            print(json ? report.json : report.text)
            if let kill, !json { print("\nnot killed: all of it took \(kill.count) stores into the arena") }
            if !report.held { throw ExitCode(1) }
        } catch let error as LiveUpdateError {
            throw Exit.failed("\(error)")
        } catch let error as SystemCallError {
            throw Exit.failed("\(error)")
        }
    }

    private func begin(_ options: Arena.Options, _ hugeTLB: CountedHugeTLB, tries: Int = 100) throws -> DemoBoot {
        let place = try DemoPlace.current()
        do throws(LiveUpdateError) {
            let process = try UpdatableProcess(arena: options, at: place.arena) {
                (orchestrator) throws(LiveUpdateError) in try DemoBoot.register(orchestrator, hugeTLB)
            }
            return DemoBoot(process, hugeTLB, place, self)
        } catch {
            // Another run was the last one in the directory, and has just removed it.
            guard tries > 1, error.errno == .noSuchFileOrDirectory else { throw error }
            return try begin(options, hugeTLB, tries: tries - 1)
        }
    }
}

extension ByteCount {
    @Sendable
    fileprivate static func parsePageSize(_ text: String) throws -> PageSize {
        switch text.uppercased() {
        case "2M": .huge2M
        case "1G": .huge1G
        default: throw ValidationError("\"\(text)\" is no size of huge pages: 2M or 1G")
        }
    }
}
