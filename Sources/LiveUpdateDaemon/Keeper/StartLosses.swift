import LiveUpdate

/// The sessions and files that are lost when a luod starts. It does no I/O.
struct StartLosses: Equatable, Sendable {
    /// One line for each session that is lost or has lost files.
    let lines: [String]

    /// - Parameters:
    ///   - sessions: the sessions that the arena describes.
    ///   - isHeld: whether a slot still holds a descriptor.
    init(_ sessions: [Status.Session], _ isHeld: (DescriptorSlot) -> Bool) {
        lines = sessions.compactMap { session in
            let subject = "session \"\(session.name)\" of user \(session.holder.owner)"
            if session.isOpen, !session.holder.isDetached, !isHeld(session.holder.slot) {
                let files = session.files.isEmpty ? "" : ", and with it \(Self.text(session.files.map(\.token)))"
                return "\(subject) is lost\(files): its client has ended, or lost the connection to the earlier luod"
            }
            let lost = session.isFinished ? [] : session.files.filter { !isHeld($0.slot) }.map(\.token)
            guard !lost.isEmpty else { return nil }
            return "\(subject) has lost \(Self.text(lost)): the last process that held the memory has ended"
        }
    }

    private static func text(_ tokens: [UInt64]) -> String {
        let ranges = ranges(of: tokens)
        let named = ranges.prefix(mostRanges).map {
            $0.lowerBound == $0.upperBound ? "\($0.lowerBound)" : "\($0.lowerBound) to \($0.upperBound)"
        }
        let rest = ranges.dropFirst(mostRanges).reduce(0) { $0 + Int(clamping: $1.upperBound - $1.lowerBound) + 1 }
        return (tokens.count == 1 ? "the file of token " : "the files of tokens ") + named.joined(separator: ", ")
            + (rest == 0 ? "" : ", and \(rest) more")
    }

    /// A longer line would not help a reader.
    private static let mostRanges = 100

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
