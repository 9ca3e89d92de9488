// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import LiveUpdateCommandLine
import LiveUpdateConformance
import LiveUpdateCore

/// `luoctl replay`
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Run conformance scenarios through the real core, arena, journal and serialization.",
        discussion: """
            Every reboot of a scenario is a new core that knows only the arena and the kept descriptors. A difference \
            is printed as FILE:LINE NAME step K: want JSON got JSON. The last line counts: N passed, M failed. Exit 1 \
            when any failed, 64 for a malformed scenario.
            """)

    @Argument(help: "Files with one scenario a line; - for standard input.", completion: .file())
    var files: [String]

    @Flag(help: "Print one JSON object for each step.")
    var trace = false

    func run() throws {
        var passed = 0
        var failed = 0
        for file in files {
            for (number, line) in try Self.lines(of: file).enumerated() where !line.allSatisfy(\.isWhitespace) {
                if try replay(line, file: file, line: number + 1) { passed += 1 } else { failed += 1 }
            }
        }
        print("\(passed) passed, \(failed) failed")
        if failed > 0 { throw ExitCode(1) }
    }

    private static func lines(of file: String) throws -> [String] {
        let data = try file == "-" ? InputFile.read(.standardInput) : InputFile.read(file)
        return String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .map(String.init)
    }

    private func replay(_ text: String, file: String, line: Int) throws -> Bool {
        let scenario: Scenario
        do {
            scenario = try Scenario(line: text)
        } catch {
            throw Exit.usage("\(file):\(line): \(error.reason)")
        }
        let difference: Difference?
        do {
            difference = try Replay.run(scenario, file: file, line: line) { outcome in
                if trace { print(outcome.json) }
            }
        } catch let error as LiveUpdateError {
            // The handlers and FLBs of the scenario cannot be registered.
            throw Exit.usage("\(file):\(line): \(error)")
        } catch {
            throw Exit.failed("\(file):\(line): \(error)")
        }
        if let difference { print(difference.description) }
        return difference == nil
    }
}
