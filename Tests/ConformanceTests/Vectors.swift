// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdateConformance
import Testing

/// The scenarios of Tests/Vectors, located by the path of this source file.
enum Vectors {
    /// A scenario, and its file and line.
    struct Line: Sendable, CustomTestStringConvertible {
        let file: String
        let number: Int
        let scenario: Scenario

        var testDescription: String { scenario.name }
    }

    /// A file of scenarios.
    enum File: String, CaseIterable, Sendable {
        case named, random

        var lines: [Line] { self == .named ? Vectors.named : Vectors.random }
    }

    /// Named scenarios: each tests one rule.
    static let named = read("named.jsonl")
    /// Random scenarios, generated from a seed.
    static let random = read("random.jsonl")

    private static func read(_ file: String) -> [Line] {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let text: String
        do {
            text = try String(contentsOf: directory.appending(path: "Vectors/\(file)"), encoding: .utf8)
        } catch {
            preconditionFailure("the vectors are missing: \(error)")
        }
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            line.isEmpty ? nil : Line(file: file, number: index + 1, scenario: scenario(String(line), file, index + 1))
        }
    }

    private static func scenario(_ line: String, _ file: String, _ number: Int) -> Scenario {
        do {
            return try Scenario(line: line)
        } catch {
            preconditionFailure("\(file):\(number): \(error.reason)")
        }
    }
}
