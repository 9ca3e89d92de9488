// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateDevice

/// The duration of an update by phases, in nanoseconds.
struct UpdateReport: Encodable {
    enum Kind {
        case load, update, reload
    }

    let version = 1
    let loadNs: UInt64
    /// The time of the freeze, and of writing the state for the next boot.
    let publishNs: UInt64?
    let takeOverNs: UInt64?
    let switchNs: UInt64?
    let answerNs: UInt64?
    let blackoutNs: UInt64?
    /// A line for each session that an update discarded, for each file that it left out, and for each client that was
    /// not ready in time; nil for a load and a reload.
    let remarks: [String]?
    private let kind: Kind

    private enum CodingKeys: CodingKey {
        case version, loadNs, publishNs, takeOverNs, switchNs, answerNs, blackoutNs, remarks
    }

    init(_ times: UpdateTimes, _ kind: Kind, remarks: [String] = []) {
        self.kind = kind
        loadNs = times.loaded - min(times.asked, times.loaded)
        func since(_ start: UInt64, _ end: UInt64) -> UInt64? { kind == .load ? nil : end - min(start, end) }
        publishNs = since(times.loaded, times.published)
        takeOverNs = since(times.published, times.takenOver)
        switchNs = since(times.takenOver, times.switched)
        answerNs = since(times.switched, times.answered)
        blackoutNs = kind == .load ? nil : times.blackout
        self.remarks = kind == .update ? remarks.map(\.shown) : nil
    }

    var json: String { jsonText(self) }

    var text: String {
        guard let publishNs, let takeOverNs, let switchNs, let answerNs, let blackoutNs else {
            return "loaded in \(Self.milliseconds(loadNs))"
        }
        var table = Table(["phase", "time"])
        table.add(["load", Self.milliseconds(loadNs)])
        table.add([kind == .update ? "freeze and publish" : "hand over", Self.milliseconds(publishNs)])
        table.add(["take over", Self.milliseconds(takeOverNs)])
        table.add(["switch", Self.milliseconds(switchNs)])
        table.add(["answer", Self.milliseconds(answerNs)])
        table.add(["blackout", Self.milliseconds(blackoutNs)])
        return ([table.text] + UpdateRemarks.paragraphs(remarks ?? [])).joined(separator: "\n")
    }

    static func milliseconds(_ nanoseconds: UInt64) -> String { "\(fixed(Double(nanoseconds) / 1e6, 3)) ms" }
}
