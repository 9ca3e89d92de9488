// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Colours text for people: only on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
enum Style {
    private static let isOn: Bool = {
        func variable(_ name: String) -> String { unsafe getenv(name).map { unsafe String(cString: $0) } ?? "" }
        return isatty(STDOUT_FILENO) == 1 && variable("NO_COLOR").isEmpty && variable("TERM") != "dumb"
    }()

    /// Green, for good results.
    static func good(_ text: String) -> String { colored(text, 32) }
    /// Red, for failures.
    static func bad(_ text: String) -> String { colored(text, 31) }
    /// Yellow, for results that deserve a look.
    static func notice(_ text: String) -> String { colored(text, 33) }

    private static func colored(_ text: String, _ code: Int) -> String {
        isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}

/// A number with its noun: "1 file", "2 files".
func counted(_ count: some BinaryInteger, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
