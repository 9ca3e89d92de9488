import ArgumentParser
import LiveUpdateDevice

/// `luoctl update`
struct UpdateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update",
        abstract: "End this boot of luod, and start the next one: sessions are handed over.",
        discussion: """
            It prints how long each phase took, and the blackout: from the first freeze until the next boot answers. \
            When a freeze fails, or the next image crashes, hangs or refuses, the boot that runs goes on, and the \
            message says why. Sessions that the last update handed over are to be finished before. Only root may.
            """)

    @OptionGroup var options: DaemonOptions
    @OptionGroup var image: ImageArgument

    @Flag(help: "Lose sessions that the last update handed over and that are not finished.")
    var discard = false

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            let times = try device.update(to: image.path, discardingUnfinished: discard)
            let report = UpdateReport(times, .update)
            print(json ? report.json : report.text)
        }
    }
}
