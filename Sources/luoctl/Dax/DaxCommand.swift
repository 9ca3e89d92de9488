// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateKernel
import LiveUpdatePlatform

/// `luoctl dax`
struct DaxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dax",
        abstract: "Show the memory regions that stay when the kernel is replaced; plan a new one.",
        subcommands: [ListRegionsCommand.self, PlanRegionCommand.self],
        defaultSubcommand: ListRegionsCommand.self)
}

/// `luoctl dax list`
struct ListRegionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show the DAX regions, the file systems and devices on them, and the files that luod holds there.",
        discussion: """
            Regions come from memmap= on the kernel's command line, from NVDIMMs, from virtio-pmem devices of a \
            virtual machine, and from CXL devices. Only root sees their addresses, and the files of all users. \
            Without a luod the regions are shown all the same. Nothing is changed.
            """)

    @Flag(help: "Print JSON, for machines: docs/kernel-update.md describes it.")
    var json = false

    @OptionGroup var daemon: DaemonOptions

    func run() throws {
        let regions: [DaxRegion]
        do throws(SystemCallError) {
            regions = try DaxSurvey.regions()
        } catch {
            throw Exit.unavailable("the DAX regions cannot be read: \(error); is /sys mounted?")
        }
        // Without the command line the regions are still shown, with their origin in place of their argument.
        let report = DaxReport(
            regions: regions, commandLine: KernelCommandLine((try? readWhole("/proc/cmdline")) ?? ""),
            holdings: DaxHoldings(of: daemon), lacksDriver: DaxSurvey.hasIdleVirtioPmem())
        print(json ? report.json : report.text)
    }
}
