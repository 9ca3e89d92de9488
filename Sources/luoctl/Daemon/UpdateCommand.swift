// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// `luoctl update`
struct UpdateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update",
        abstract: "End this boot of luod, and start the next one: sessions are handed over.",
        discussion: """
            It prints how long each phase took, and the blackout: from the first freeze until the next boot answers. \
            When a freeze fails, or the next image crashes, hangs or refuses, the boot that runs goes on, and the \
            message says why: all files that cannot be frozen are listed. Sessions that the last update handed over \
            must be finished first. Clients that have subscribed are asked before the freeze, and the update waits \
            until they are ready. Only root and the user that luod runs as may update.
            """)

    @OptionGroup var options: DaemonOptions
    @OptionGroup var image: ImageArgument
    @OptionGroup var barrier: BarrierOptions

    @Flag(help: "Lose sessions that the last update handed over and that are not finished: they are listed.")
    var discard = false

    @Flag(
        help: """
            Go on without files that cannot be frozen: their descriptors stay, and luoctl retrieve --as-held gets them \
            after the update.
            """)
    var leaveOut = false

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            // The sessions that the update discards are not in the status of the next boot.
            let unfinished = discard ? (try? LuodStatus(of: device).unfinished) ?? [] : []
            do throws(LiveUpdateError) {
                let times = try device.update(
                    to: image.path, discardingUnfinished: discard, leavingOut: leaveOut,
                    patience: barrier.patience, withoutReady: barrier.withoutReady)
                let remarks = UpdateRemarks(times.remarks).completed {
                    unfinished
                } leftOut: {
                    leaveOut ? (try? LuodStatus(of: device).problems(.incoming)) ?? [] : []
                }
                let report = UpdateReport(times, .update, remarks: remarks)
                print(json ? report.json : report.text)
            } catch {
                // The status does not show the clients that were not ready.
                guard error.errno != .timedOut else { throw error }
                throw ObstacleList(error).completed { try? LuodStatus(of: device).problems(.outgoing).map(\.text) }
            }
        }
    }
}

/// The error of an update that lists the files in its way. An answer of luod has at most 4 KiB, and its last line
/// counts the files that did not fit.
struct ObstacleList {
    private let error: LiveUpdateError

    init(_ error: LiveUpdateError) { self.error = error }

    /// The same error, with all lines. `problems` reads the lines of all files, in the order of the answer; it returns
    /// nil when they cannot be read.
    func completed(_ problems: () -> [String]?) -> LiveUpdateError {
        var lines = error.reason.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard let place = lines.lastIndex(where: { Self.missing($0) != nil }), let missing = Self.missing(lines[place]),
            let all = problems(), all.count >= missing
        else { return error }
        lines.replaceSubrange(place...place, with: all.suffix(missing))
        return LiveUpdateError(error.errno, lines.joined(separator: "\n"), remedy: error.remedy)
    }

    /// The number in "and N more".
    static func missing(_ line: String) -> Int? {
        let words = line.split(separator: " ")
        guard words.count > 2, words[0] == "and", words[2].hasPrefix("more"), let number = Int(words[1]), number >= 0
        else { return nil }
        return number
    }
}

/// `luoctl load`
struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Start the next luod, which waits for luoctl update: the update has a shorter blackout then.",
        discussion: """
            An image that does not know a format in use is refused. Only root and the user that luod runs as may load \
            one. Clients are served meanwhile.
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

/// `luoctl reload`
struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Replace the program of luod without a new boot: sessions, descriptors and clients stay.",
        discussion:
            "Requests that arrive meanwhile wait and are answered. Only root and the user that luod runs as may do it.")

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

/// The options for the wait of an update for the clients that have subscribed.
struct BarrierOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: """
            Milliseconds to wait until all clients that have subscribed are ready. If some are not ready then, the \
            update is called off, and the error names them. (default: 5000)
            """, transform: NumberArgument.milliseconds)
    var patienceReady: UInt32 = 5000

    @Flag(help: "Go on without clients that are not ready in time: they are listed.")
    var withoutReady = false

    var patience: Duration { .milliseconds(patienceReady) }
}

/// The program of the next luod.
struct ImageArgument: ParsableArguments {
    @Argument(
        help: "The program of the next luod. (default: the one that is loaded, or else that runs, as it is now)",
        completion: .file())
    var image: String?

    func validate() throws {
        guard image != "" else { throw ValidationError("an empty path is no program") }
    }

    /// The absolute path, because luod runs in a directory of its own; nil for the default.
    var path: FilePath? { image.map { FilePath(absolutePath($0)) } }
}
