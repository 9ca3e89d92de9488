// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import Logging
import SystemPackage

/// The format of luod's lines on standard error: docs/log.md.
package enum LogFormat: String, Sendable, CaseIterable {
    /// Time, level, process, message and fields, for people.
    case text
    /// One JSON object on each line, for programs.
    case json
    /// For a journal, which adds the time itself: the level is the prefix of sd-daemon(3).
    case journal

    private static let chosen = Guarded<LogFormat?>(nil)

    /// Chooses the format of all logs of this process; nil chooses ``usual(journalStream:standardError:)``.
    package static func choose(_ format: LogFormat?) { chosen.with { $0 = format } }

    /// The format of this process.
    static var current: LogFormat {
        chosen.with { format in
            if let format { return format }
            let usual = usual(
                journalStream: environmentVariable("JOURNAL_STREAM"),
                standardError: (try? FileStatus(of: .standardError))?.identity)
            format = usual
            return usual
        }
    }

    /// The format without an option.
    ///
    /// - Parameters:
    ///   - journalStream: `$JOURNAL_STREAM`: the device and the inode of the journal's socket (systemd.exec(5)).
    ///   - standardError: the file that is standard error; nil when it is not open.
    /// - Returns: the journal's format if standard error is that socket, and else text.
    static func usual(journalStream: String?, standardError: FileIdentity?) -> LogFormat {
        guard let journalStream, let standardError else { return .text }
        return journalStream == "\(standardError.device):\(standardError.inode)" ? .journal : .text
    }

    /// A line of the log, without the line feed at its end. Its text cannot end a line, and cannot control a terminal.
    func text(_ line: LogLine) -> String {
        switch self {
        case .text: "\(wallClockText(line.time)) \(line.level) \(line.plain)"
        case .json: line.object
        case .journal: "<\(line.level.priority)>\(line.plain)"
        }
    }
}

/// The content of one line of the log.
struct LogLine {
    /// Nanoseconds of CLOCK_REALTIME.
    var time: Int64
    var level: Logger.Level
    /// The name of the process, such as `luod-keeper`.
    var process: String
    /// The number of the process.
    var number: CInt
    var message: String
    var fields: Logger.Metadata = [:]

    /// The fields in the order of their names.
    private var sortedFields: [(name: String, value: Logger.MetadataValue)] {
        fields.map { (name: $0.key, value: $0.value) }.sorted { $0.name < $1.name }
    }

    /// The line without time and level.
    fileprivate var plain: String {
        let fields = sortedFields.map { " \($0.name)=\(Self.plain($0.value))" }.joined()
        return "\(process)[\(number)]: \(Self.printable(message))\(fields)"
    }

    /// The line as a JSON object.
    fileprivate var object: String {
        let fields = sortedFields.map { ",\(Self.quoted($0.name)):\(Self.json($0.value))" }.joined()
        return "{\"time\":\"\(wallClockText(time))\",\"level\":\"\(level)\",\"process\":\(Self.quoted(process)),"
            + "\"pid\":\(number),\"message\":\(Self.quoted(message))\(fields)}"
    }

    private static func plain(_ value: Logger.MetadataValue) -> String {
        let text = "\(value)"
        let needsQuotes = text.isEmpty || text.contains { " =\"\\".contains($0) }
        return needsQuotes ? "\"\(printable(text, escaping: "\"\\"))\"" : printable(text)
    }

    /// Numbers are numbers in JSON, too. All other values are strings.
    private static func json(_ value: Logger.MetadataValue) -> String {
        if case .stringConvertible(let number) = value, number is any Numeric { return "\(number)" }
        return quoted("\(value)")
    }

    /// The text without characters that a terminal would obey, and without line feeds. A backslash stands before each
    /// of the characters to escape.
    private static func printable(_ text: String, escaping escaped: String = "") -> String {
        var shown = ""
        for scalar in text.unicodeScalars {
            if escaped.unicodeScalars.contains(scalar) { shown += "\\" }
            if scalar.isPrintable {
                shown.unicodeScalars.append(scalar)
            } else {
                shown += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return shown
    }

    /// The text as a JSON string.
    private static func quoted(_ text: String) -> String {
        var shown = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\":
                shown += "\\"
                shown.unicodeScalars.append(scalar)
            case _ where scalar.isPrintable: shown.unicodeScalars.append(scalar)
            default:
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    shown += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return shown + "\""
    }
}

extension Logger.Level {
    /// The priority of syslog(3).
    fileprivate var priority: Int {
        switch self {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug, .trace: 7
        }
    }
}
