// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// The options that reserving and releasing share.
struct PoolOptions: ParsableArguments {
    @Option(
        help: "The size of the pages: 2M or 1G, or what else the kernel has.", completion: .list(["2M", "1G"]),
        transform: PoolOptions.pageSize)
    var size: PageSize

    @Option(parsing: .unconditional, help: "How many pages more, or fewer.", transform: PoolOptions.number)
    var count: UInt64

    @Option(parsing: .unconditional, help: "Only on this NUMA node.", transform: PoolOptions.node)
    var node: Int?

    @Flag(help: "Only look whether it is possible, and say what it would do.")
    var dryRun = false

    @Flag(help: "Print JSON, for machines.")
    var json = false

    func validate() throws {
        guard count > 0 else { throw ValidationError("--count takes a number of pages, 1 at least") }
    }

    @Sendable
    private static func number(_ text: String) throws -> UInt64 {
        guard let number = UInt64(text) else { throw ValidationError("write a number of pages, 1 at least") }
        return number
    }

    @Sendable
    private static func node(_ text: String) throws -> Int {
        guard let number = Int(text), number >= 0 else {
            throw ValidationError("write the number of a NUMA node; luoctl hugepages shows the nodes")
        }
        return number
    }

    @Sendable
    private static func pageSize(_ text: String) throws -> PageSize {
        guard let size = PageSize(bytes: try ByteCount.parse(text)), size > .base else {
            throw ValidationError("\"\(text)\" is no size of huge pages: 2M and 1G are")
        }
        return size
    }
}

/// `luoctl hugepages reserve`
struct ReserveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reserve",
        abstract: "Make a pool larger by so many persistent pages.",
        discussion: """
            First it looks whether that is possible: whether there is such a pool, the memory (1 GiB is left to others), \
            and the right. When the kernel then gives fewer pages than asked for, because memory is in pieces, they are \
            given back again. Reserved pages stay until they are released, or until the machine is restarted.
            """)

    @OptionGroup var options: PoolOptions

    @Flag(help: "Keep the pages that can be had, when there are fewer; at least one.")
    var bestEffort = false

    func run() throws {
        try Resize(
            request: HugePageRequest(
                .reserve, options.count, of: options.size, node: options.node, acceptsFewer: bestEffort),
            options: options
        ).run()
    }
}

/// `luoctl hugepages release`
struct ReleaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release",
        abstract: "Make a pool smaller by so many persistent pages.",
        discussion: """
            Never by more than it has. Pages that are in use cannot be given back now: they become surplus pages, which \
            vanish when they are freed. That is only done with --force.
            """)

    @OptionGroup var options: PoolOptions

    @Flag(help: "Also pages that are in use: they stay in use, and vanish when they are freed.")
    var force = false

    func run() throws {
        try Resize(
            request: HugePageRequest(
                .release, options.count, of: options.size, node: options.node, acceptsSurplus: force),
            options: options
        ).run()
    }
}
