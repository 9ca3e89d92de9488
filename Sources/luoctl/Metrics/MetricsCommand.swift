// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// `luoctl metrics`
struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract: "Print the metrics of luod, as OpenMetrics text.",
        discussion: """
            For Prometheus and programs that read its format: sessions, files and bytes by user, pools of huge pages, \
            updates by result, blackouts, deaths, queue, descriptors and arena; docs/metrics.md describes each. Root sees \
            all users, and every other user their own sessions and files. When no luod answers, luod_up is 0, and the \
            exit code is 69.
            """)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        // A kernel without huge pages has no pools, and no metrics of them.
        let pools = (try? HugePagePool.all()) ?? []
        do {
            try options.run { device throws(LiveUpdateError) in
                print(DaemonMetrics(try LuodStatus(of: device), pools: pools).text, terminator: "")
            }
        } catch {
            print(DaemonMetrics(nil, pools: pools).text, terminator: "")
            throw error
        }
        if fflush(nil) != 0, errno != EPIPE { throw Exit.unwritten(Errno(rawValue: errno)) }
    }
}
