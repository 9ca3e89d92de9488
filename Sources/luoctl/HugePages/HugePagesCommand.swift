// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// `luoctl hugepages`
struct HugePagesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hugepages",
        abstract: "Show the huge page pools and the holders of their pages; make the pools larger or smaller.",
        subcommands: [ListPoolsCommand.self, ReserveCommand.self, ReleaseCommand.self],
        defaultSubcommand: ListPoolsCommand.self)
}

/// `luoctl hugepages list`
struct ListPoolsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show the pools by size and node, and the holders of their pages.",
        discussion: """
            Total counts all pages, with the surplus ones; persistent ones stay when they are freed. A page in use is in \
            a file that some process has open or mapped, in a private mapping, or in a file with a name on a hugetlbfs \
            mount. Pages without a known holder are counted, and so are reserved pages that no process has touched. A file \
            that luod holds has the session and the token beside it. Only root can look at processes of other users. \
            Nothing is changed.
            """)

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Print JSON, for machines.")
    var json = false

    func run() throws {
        do throws(SystemCallError) {
            // The pools are read last, so that pages that are freed meanwhile do not look like pages without a holder.
            let holders = try HugePageHolders.survey()
            let report = PoolReport(
                pools: try HugePagePool.all(), holders: holders, sessions: HeldFileNames(daemon.status))
            print(json ? report.json : report.text)
        } catch {
            throw Exit.unavailable("the pools cannot be read: \(error); are /proc and /sys mounted?")
        }
    }
}
