// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateKernel

/// The report of the last kernel update, for people.
struct KernelUpdateText {
    private let report: KernelUpdateReport

    init(_ report: KernelUpdateReport) { self.report = report }

    /// The whole report.
    var text: String {
        var sections = [releases]
        switch report.outcome {
        case .replaced: sections.append(parts)
        case .unanswered, .restarted, .notReplaced: sections.append(Style.notice(state))
        }
        if !report.record.files.isEmpty { sections.append(files) }
        if !report.record.accepted.isEmpty { sections.append(accepted) }
        return sections.joined(separator: "\n\n")
    }

    /// The report in one line, for the status.
    var line: String {
        let old = "\(report.record.release.shown), \(start.shown)"
        guard report.outcome == .replaced else { return "from \(old): \(state)" }
        let whole = report.parts.whole.map(Self.duration) ?? "unknown"
        return "from \(old), to \((report.release ?? "").shown): blackout \(whole)"
    }

    /// The parts of the blackout.
    var parts: String {
        var table = Table(["part", "time"])
        table.add(["freeze and publish", report.frozeInStop ? "in luod's stop" : Self.text(report.parts.freeze)])
        table.add(["end of the old kernel", Self.text(report.parts.end)])
        table.add(["boot", Self.text(report.parts.boot)])
        table.add(["blackout", Self.text(report.parts.whole)])
        return table.text
    }

    private var start: String {
        (report.record.times.freezeBegan ?? report.record.times.kernelEnded).time
    }

    /// The outcome in words, for an update without all of its times.
    private var state: String {
        switch report.outcome {
        case .replaced: "the kernel was replaced"
        case .unanswered: "luod has not answered under the next kernel"
        case .notReplaced: "the kernel was not replaced"
        case .restarted: "the kernel was started again since, so the times are not known"
        }
    }

    private var releases: String {
        """
        from:   \(report.record.release.shown)
        to:     \((report.release ?? "unknown").shown)
        begin:  \(start.shown)
        end:    \((report.answered?.time ?? "unknown").shown)
        """
    }

    private var files: String {
        var table = Table(["session", "user", "token", "handler", "size", "carrier"])
        for file in report.record.files {
            table.add([
                file.session.shown, "\(file.user)", file.token.shown, file.handler.shown,
                file.size.map(ByteCount.text) ?? "-", file.carrier.shown,
            ])
        }
        return table.text
    }

    private var accepted: String {
        let lines = report.record.accepted.map { "  \(Style.notice("\($0.subject): \($0.reason)".shown))" }
        return (["accepted:"] + lines).joined(separator: "\n")
    }

    private static func text(_ nanoseconds: UInt64?) -> String { nanoseconds.map(duration) ?? "unknown" }

    private static func duration(_ nanoseconds: UInt64) -> String {
        nanoseconds < 1_000_000_000
            ? "\(fixed(Double(nanoseconds) / 1e6, 0)) ms" : "\(fixed(Double(nanoseconds) / 1e9, 3)) s"
    }
}

/// The report of the last kernel update, for machines.
struct KernelUpdateDocument: Encodable {
    private let version = 1
    private let outcome: String
    private let from: String
    private let to: String?
    private let times: Times
    private let freezeNs: UInt64?
    private let endNs: UInt64?
    private let bootNs: UInt64?
    private let blackoutNs: UInt64?
    private let files: [KernelUpdateRecord.File]
    private let accepted: [KernelUpdateRecord.Problem]

    private struct Times: Encodable {
        let freezeBegan: KernelUpdateRecord.Moment?
        let published: KernelUpdateRecord.Moment?
        let kernelEnded: KernelUpdateRecord.Moment
        let kernelBegan: KernelUpdateRecord.Moment?
        let answered: KernelUpdateRecord.Moment?
    }

    init(_ report: KernelUpdateReport) {
        let record = report.record
        outcome = report.outcome.rawValue
        from = record.release
        to = report.release
        times = Times(
            freezeBegan: record.times.freezeBegan, published: record.times.published,
            kernelEnded: record.times.kernelEnded, kernelBegan: report.kernelBegan, answered: report.answered)
        freezeNs = report.parts.freeze
        endNs = report.parts.end
        bootNs = report.parts.boot
        blackoutNs = report.parts.whole
        files = record.files
        accepted = record.accepted
    }
}
