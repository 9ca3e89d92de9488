// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import LiveUpdateCore

/// Colours text for people: only on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
package enum Style {
    private static let isOn: Bool = {
        func variable(_ name: String) -> String { unsafe getenv(name).map { unsafe String(cString: $0) } ?? "" }
        return isatty(STDOUT_FILENO) == 1 && variable("NO_COLOR").isEmpty && variable("TERM") != "dumb"
    }()

    /// Green, for good results.
    package static func good(_ text: String) -> String { colored(text, 32) }
    /// Red, for failures.
    package static func bad(_ text: String) -> String { colored(text, 31) }
    /// Yellow, for results that deserve a look.
    package static func notice(_ text: String) -> String { colored(text, 33) }

    private static func colored(_ text: String, _ code: Int) -> String {
        isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}

extension String {
    /// The string as one word of a shell's command line.
    package var shellQuoted: String {
        let plain = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_./=:,+@%"
        if !isEmpty, unicodeScalars.allSatisfy(plain.unicodeScalars.contains) { return self }
        return "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}

/// A number with its noun: "1 file", "2 files".
package func counted(_ count: some BinaryInteger, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
}

/// A number with a fixed number of decimals, without Foundation's locale.
package func fixed(_ value: Double, _ decimals: Int) -> String {
    let scale = (0..<decimals).reduce(1.0) { scale, _ in scale * 10 }
    let scaled = UInt64((abs(value) * scale).rounded())
    guard decimals > 0 else { return (value < 0 ? "-" : "") + "\(scaled)" }
    let digits = String(scaled % UInt64(scale))
    let fraction = String(repeating: "0", count: decimals - digits.count) + digits
    return "\(value < 0 ? "-" : "")\(scaled / UInt64(scale)).\(fraction)"
}

/// A table of text columns, for people.
package struct Table {
    private var rows: [[String]]

    package init(_ header: [String]) { rows = [header] }

    package mutating func add(_ row: [String]) { rows.append(row) }

    /// The table as text, with numbers to the right and words to the left.
    package var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            row.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                return Self.isNumber(row[column]) ? padding + row[column] : row[column] + padding
            }.joined(separator: "  ").trimmingTrailingSpaces
        }
        return lines.joined(separator: "\n")
    }

    private static func isNumber(_ text: String) -> Bool { text.first?.isNumber ?? false }
}

extension String {
    fileprivate var trimmingTrailingSpaces: String {
        var text = self
        while text.last == " " { text.removeLast() }
        return text
    }
}

/// A value as JSON, for machines. All commands write sorted keys in snake case.
package func jsonText(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
}

extension String {
    /// The string without characters that a terminal would obey.
    package var shown: String {
        var shown = ""
        for scalar in unicodeScalars {
            if scalar.isPrintable {
                shown.unicodeScalars.append(scalar)
            } else {
                shown += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return shown
    }
}
