// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore

/// The sessions and files that are lost when a luod starts. It does no I/O.
struct StartLosses: Equatable, Sendable {
    /// One line for each session that is lost or has lost files, and further lines if the tokens do not fit into one.
    let lines: [String]

    /// - Parameters:
    ///   - sessions: the sessions that the arena describes.
    ///   - isHeld: whether a slot still holds a descriptor.
    init(_ sessions: [Status.Session], _ isHeld: (DescriptorSlot) -> Bool) {
        lines = sessions.flatMap { session in
            let which = "session \"\(session.name)\" of user \(session.holder.user)"
            if session.isOpen, !session.holder.isDetached, !isHeld(session.holder.slot) {
                let files = Self.texts(session.files.map(\.token))
                let with = files.first.map { ", and with it \($0)" } ?? ""
                return ["\(which) is lost\(with): the process that had it open ended, or was left by the luod before"]
                    + files.dropFirst().map { "\(which) is lost, and with it also \($0)" }
            }
            let lost = session.isFinished ? [] : session.files.filter { !isHeld($0.slot) }.map(\.token)
            return Self.texts(lost).map {
                "\(which) has lost \($0): the last process that held the memory has ended"
            }
        }
    }

    /// All tokens, in texts that are short enough for a line of a log.
    static func texts(_ tokens: [UInt64]) -> [String] {
        let ranges = ranges(of: tokens)
        return stride(from: 0, to: ranges.count, by: rangesInLine).map { start in
            text(ranges[start..<min(start + rangesInLine, ranges.count)])
        }
    }

    private static func text(_ ranges: ArraySlice<ClosedRange<UInt64>>) -> String {
        let isOne = ranges.count == 1 && ranges.allSatisfy { $0.lowerBound == $0.upperBound }
        let named = ranges.map {
            $0.lowerBound == $0.upperBound ? "\($0.lowerBound)" : "\($0.lowerBound) to \($0.upperBound)"
        }
        return (isOne ? "the file of token " : "the files of tokens ") + named.joined(separator: ", ")
    }

    private static let rangesInLine = 100

    private static func ranges(of tokens: [UInt64]) -> [ClosedRange<UInt64>] {
        var ranges: [ClosedRange<UInt64>] = []
        for token in tokens.sorted() {
            if let last = ranges.last, last.upperBound < token, token - last.upperBound == 1 {
                ranges[ranges.count - 1] = last.lowerBound...token
            } else {
                ranges.append(token...token)
            }
        }
        return ranges
    }
}
