// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
package import Logging

/// The log of a process of luod: swift-log with a ``LineHandler``. docs/log.md has the formats and the usual events.
///
/// In each second, a few lines of each kind are written. After that second, one line says how many were omitted. All
/// lines from one place in the code are one kind.
package struct Log: Sendable {
    private let logger: Logger
    private let limiter = Guarded(LogLimiter())

    /// Makes the log of a process. `process` is its name in the lines, such as `luod-keeper`.
    package init(_ process: String) { logger = Logger(label: process) { LineHandler($0) } }

    /// Writes one line, unless there are too many of its kind.
    ///
    /// - Parameters:
    ///   - text: the message.
    ///   - level: how important the event is.
    ///   - fields: the subjects of the event, such as session and user.
    ///   - file: the file of the place in the code.
    ///   - line: the line of the place in the code.
    package func say(
        _ text: String, _ level: Logger.Level = .notice, _ fields: Logger.Metadata = [:],
        file: String = #fileID, line: Int = #line
    ) {
        let entry = LogLimiter.Entry(text: text, level: level, fields: fields)
        let kind = LogLimiter.Kind(file: file, line: line)
        let (isAdmitted, omissions) = limiter.with { limiter in
            let now = monotonicNanoseconds()
            let omissions = limiter.takeOmissions(at: now)
            return (limiter.admits(entry, of: kind, at: now), omissions)
        }
        write(omissions)
        if isAdmitted { write(entry) }
    }

    /// Writes lines that belong together, without a limit.
    package func sayAll(_ lines: [String], _ level: Logger.Level = .notice, _ fields: Logger.Metadata = [:]) {
        for line in lines { write(LogLimiter.Entry(text: line, level: level, fields: fields)) }
    }

    /// Writes how many lines were omitted, once their second is over.
    func sayOmissions() {
        let omissions = limiter.with { limiter in
            limiter.hasOmissions ? limiter.takeOmissions(at: monotonicNanoseconds()) : []
        }
        write(omissions)
    }

    /// Whether ``sayOmissions()`` must be called within a second.
    var hasOmissions: Bool { limiter.with { $0.hasOmissions } }

    private func write(_ omissions: [LogLimiter.Omission]) {
        for one in omissions {
            var entry = one.last
            entry.text = "\(one.count) more lines were left out like: \(entry.text)"
            write(entry)
        }
    }

    private func write(_ entry: LogLimiter.Entry) {
        logger.log(level: entry.level, "\(entry.text)", metadata: entry.fields)
    }
}

/// Decides which lines of a log are written. It does no I/O.
///
/// 1. The first lines of a kind in a second are written.
/// 2. The others are counted. When the second is over, one line gives their number and the last of them.
struct LogLimiter {
    /// The place in the code that writes a line.
    struct Kind: Hashable {
        var file: String
        var line: Int
    }

    /// A line.
    struct Entry: Equatable {
        var text: String
        var level: Logger.Level = .notice
        var fields: Logger.Metadata = [:]
    }

    /// Lines of one kind that were omitted.
    struct Omission: Equatable {
        var count: Int
        /// The last omitted line.
        var last: Entry
    }

    private struct Recent {
        /// The beginning of the second, in nanoseconds.
        var began: UInt64
        var count = 0
        var omission: Omission?
    }

    /// The kinds of the last second.
    private var recent: [Kind: Recent] = [:]

    /// The most lines of a kind that are written in a second.
    static let most = 5
    /// One second, in nanoseconds.
    static let window: UInt64 = 1_000_000_000

    /// Whether lines were omitted and not yet counted in the log.
    private(set) var hasOmissions = false

    /// Whether a line is written. `now` is the time, in nanoseconds. Call ``takeOmissions(at:)`` with the same time
    /// first.
    mutating func admits(_ entry: Entry, of kind: Kind, at now: UInt64) -> Bool {
        var one = recent[kind] ?? Recent(began: now)
        defer { recent[kind] = one }
        one.count += 1
        guard one.count > Self.most else { return true }
        one.omission = Omission(count: (one.omission?.count ?? 0) + 1, last: entry)
        hasOmissions = true
        return false
    }

    /// Returns and forgets the omissions of the kinds with a finished second. The next line of such a kind begins a new
    /// second.
    mutating func takeOmissions(at now: UInt64) -> [Omission] {
        let over = recent.filter { now >= $0.value.began + Self.window }
        for kind in over.keys { recent[kind] = nil }
        hasOmissions = recent.values.contains { $0.omission != nil }
        return over.sorted { $0.value.began < $1.value.began }.compactMap(\.value.omission)
    }
}
