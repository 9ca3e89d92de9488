// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDevice
import LiveUpdateProtocol

/// A line about a session, or about a file of a session.
struct SessionLine: Equatable {
    /// The user, the session and the token, in the words of luod, up to the colon.
    let subject: String
    /// The words behind the colon.
    let state: String

    var text: String { "\(subject): \(state)" }

    /// Whether a line of luod is about this session or file, in any words.
    func isSubject(of line: String) -> Bool { line.hasPrefix("\(subject): ") }
}

/// The lines that name the cost of an update: exactly the sessions and files that it has cost.
///
/// 1. luod has 4 KiB for the lines in its answer, and counts the lines that did not fit.
/// 2. The status has those lines: the status from before the update has the discarded sessions, and the status from
///    after it has the files that were left out.
/// 3. Clients can finish sessions between the status and the update. Then the status has more or fewer lines than luod
///    counted, and does not show which ones: the log of luod names them.
struct UpdateRemarks {
    private let said: [String]

    /// - Parameter said: the lines of luod's answer.
    init(_ said: [String]) { self.said = said }

    /// Completes the lines. The closures are called only when lines are missing.
    ///
    /// - Parameters:
    ///   - discarded: returns the lines of the sessions that the update discarded, and of their files.
    ///   - leftOut: returns the lines of the files that the update left out.
    /// - Returns: all lines, each once. If the closures have more or fewer lines than are missing, the last line refers
    ///   to luod's log.
    func completed(discarded: () -> [SessionLine], leftOut: () -> [SessionLine]) -> [String] {
        guard let last = said.last, let missing = ObstacleList.missing(last) else { return said }
        let shown = Array(said.dropLast())
        // luod names files that were left out before discarded sessions. luod may name a file in other words than the
        // status.
        let others = (leftOut() + discarded()).filter { line in !shown.contains(where: line.isSubject(of:)) }
        guard others.count == missing else { return shown + ["and \(missing) more: the log of luod names them"] }
        return shown + others.map(\.text)
    }

    /// The lines for people, below headings: the sessions and files that the update discarded are lost, and the others
    /// are not.
    static func paragraphs(_ lines: [String]) -> [String] {
        let isDiscarded = { (line: String) in line.hasSuffix(": unfinished") || line.hasSuffix(", unfinished") }
        let (discarded, others) = (lines.filter(isDiscarded), lines.filter { !isDiscarded($0) })
        // The count of more lines is about both.
        let isOnlyCount = others.allSatisfy { ObstacleList.missing($0) != nil }
        guard !discarded.isEmpty else { return others.isEmpty ? [] : ["The update went on without:"] + others }
        let lost = ["The update discarded, and lost:"] + discarded
        return isOnlyCount ? lost + others : lost + ["The update went on without:"] + others
    }
}
