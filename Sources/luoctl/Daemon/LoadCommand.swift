// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateDevice

/// `luoctl load`
struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Start the next luod, which waits for luoctl update: the update has a shorter blackout then.",
        discussion: """
            An image that does not know a format in use is refused. Only root and the user that luod runs as may. Clients are served meanwhile.
            """)

    @OptionGroup var options: DaemonOptions
    @OptionGroup var image: ImageArgument

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            let report = UpdateReport(try device.load(image.path), .load)
            print(json ? report.json : report.text)
        }
    }
}
