// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateDevice

/// `luoctl reload`
struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Replace the program of luod without a new boot: sessions, descriptors and clients stay.",
        discussion:
            "Requests that arrive meanwhile wait and are answered. Only root and the user that luod runs as may.")

    @OptionGroup var options: DaemonOptions
    @OptionGroup var image: ImageArgument

    @Flag(help: "Replace the program of the keeper, in the same process, and not that of the orchestrator.")
    var keeper = false

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            if keeper {
                try device.reloadKeeper(image.path)
                print(json ? "{}" : "the keeper runs its new program")
                return
            }
            let report = UpdateReport(try device.reload(image.path), .reload)
            print(json ? report.json : report.text)
        }
    }
}
