// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol

/// `luoctl stop`
struct StopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "End luod, unless something would be lost.",
        discussion: """
            Without --discard luod goes on when sessions or files would be lost, and they are listed. Files with a \
            name on hugetlbfs, files on DAX and files that systemd holds are not lost. This command waits until luod has ended. \
            Only root and the user that luod runs as may stop it.
            """)

    @OptionGroup var options: DaemonOptions

    @Flag(help: "End luod also when files are lost with it: they are listed.")
    var discard = false

    @Flag(help: "Print JSON, for machines: docs/daemon.md describes it.")
    var json = false

    @Option(help: .hidden)
    var patience: UInt16 = 30

    func run() throws {
        try options.run { device throws(LiveUpdateError) in
            let ending = DaemonEnding(device)
            do throws(LiveUpdateError) {
                let lost = try device.stop(discarding: discard).map(\.shown)
                try ending.wait(seconds: patience, ifStopped: options.waiting.timeout)
                report(StopReport(stopped: true, lost: lost))
            } catch {
                if json { report(StopReport(stopped: false, lost: ShownText.lines(error.reason))) }
                throw error
            }
        }
    }

    private func report(_ report: StopReport) {
        if json {
            print(jsonText(report))
        } else {
            for line in report.lost { print(line) }
        }
    }
}

/// `luoctl stop --json`
private struct StopReport: Encodable {
    let version = 1
    let stopped: Bool
    /// The lines of luod's answer: the losses, or the reason why luod goes on.
    let lost: [String]
}

/// The end of luod, as its client sees it: the keeper's process has ended. If that process cannot be seen from here,
/// the connection has hung up.
private struct DaemonEnding: ~Copyable {
    private let device: LiveUpdateDevice
    private let process: Int32
    /// Nil when the keeper is in another process namespace.
    private let keeper: RunningProcess?

    init(_ device: LiveUpdateDevice) {
        self.device = device
        let status = try? LuodStatus.daemon(of: device)
        process = status.map { $0.keeper > 0 ? $0.keeper : $0.orchestrator } ?? 0
        keeper = process > 0 ? try? RunningProcess(process) : nil
    }

    /// Waits until luod has ended. A keeper that a signal has stopped (SIGSTOP) is given less time, because it ends
    /// only when it continues.
    ///
    /// - Parameters:
    ///   - seconds: the longest wait.
    ///   - shorter: the longest wait for a stopped keeper; 0: `seconds`.
    /// - Throws: ETIMEDOUT.
    func wait(seconds: UInt16, ifStopped shorter: UInt16) throws(LiveUpdateError) {
        let start = monotonicNanoseconds()
        let (deadline, early) = (Self.end(start, seconds), Self.end(start, shorter == 0 ? seconds : shorter))
        while !hasEnded {
            let now = monotonicNanoseconds()
            if now >= early, SeenProcess(process)?.isStopped == true {
                throw LiveUpdateError(
                    .timedOut, "luod has not ended, because its keeper (process \(process)) is stopped",
                    remedy: "let it continue (kill -CONT \(process)), or end it (kill -KILL \(process))")
            }
            guard now < deadline else {
                throw LiveUpdateError(
                    .timedOut, "luod (process \(process)) has not ended within \(seconds) s after its answer",
                    remedy: "look into its log, or end it at once with kill -KILL \(process)")
            }
            usleep(5_000)
        }
    }

    private static func end(_ start: UInt64, _ seconds: UInt16) -> UInt64 { start + UInt64(seconds) * 1_000_000_000 }

    private var hasEnded: Bool {
        switch keeper {
        // A service manager may hold the other side of the connection for longer.
        case .some(let keeper): keeper.hasEnded
        case nil: device.descriptor.hasHungUp
        }
    }
}
