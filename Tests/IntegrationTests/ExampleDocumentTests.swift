// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The code in the documents is the code of the examples. A ```session block shows a session with programs in the
/// background. One shell runs its commands, and must print the shown output, except for numbers.
@Suite struct ExampleDocumentTests {
    private static func text(_ path: String) throws -> String {
        try String(contentsOf: Document.root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The fenced blocks of a language.
    private static func blocks(_ language: String, in document: String) throws -> [[String]] {
        var blocks: [[String]] = []
        var current: [String]?
        for line in try text(document).split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "```\(language)" {
                current = []
            } else if line == "```", let block = current {
                blocks.append(block)
                current = nil
            } else {
                current?.append(String(line))
            }
        }
        return blocks
    }

    /// Lines without their indentation, and without empty lines.
    private static func stripped(_ lines: [String]) -> String {
        lines.map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }.joined(separator: "\n")
    }

    @Test(arguments: ["README.md", "docs/writing-a-handler.md", "docs/embedding.md", "docs/service.md"])
    func codeIsThatOfTheExamples(_ document: String) throws {
        let sources = try ["Examples", "Tests/ListenerHandlerTests"].flatMap { directory in
            try FileManager.default.subpathsOfDirectory(atPath: Document.root.appendingPathComponent(directory).path)
                .filter { $0.hasSuffix(".swift") }.map { try Self.text("\(directory)/\($0)") }
        }
        let examples = sources.map { Self.stripped($0.components(separatedBy: "\n")) }
        let blocks = try Self.blocks("swift", in: document)
        #expect(!blocks.isEmpty)
        for block in blocks {
            let code = Self.stripped(block)
            #expect(examples.contains { $0.contains(code) }, "no example has\n\(code)")
        }
    }

    @Test(arguments: ["docs/embedding.md"]) func sessionsAreTrue(_ document: String) async throws {
        try await Self.checkSession(document)
    }

    /// It compiles a C program, and runs a program under `luoctl run`.
    @Test(.requiresRoot) func tutorialIsTrue() async throws { try await Self.checkSession("docs/tutorial.md") }

    private static func checkSession(_ document: String) async throws {
        let directory = try TemporaryDirectory()
        var script = [
            "exec 2>&1", "cd '\(Document.root.path)'", "PATH='\(Program.directory)':$PATH",
            "trap 'kill $(jobs -p) 2>/dev/null' EXIT",
        ]
        var expected: [String] = []
        for line in try blocks("session", in: document).joined() {
            let line = line.replacing("/tmp/", with: "\(directory.path)/")
            guard line.hasPrefix("$ ") else {
                expected.append(line)
                continue
            }
            let command = String(line.dropFirst(2))
            script.append(command)
            if command.hasSuffix("&") { script.append(wait(for: command)) }
        }
        #expect(!expected.isEmpty)
        let ended = try await run(["/bin/bash", "-c", script.joined(separator: "\n")])
        // The output of a program in the background can come at any time.
        #expect(withoutNumbers(ended.lines).sorted() == withoutNumbers(expected).sorted(), "\(ended)")
    }

    /// Waits for a program in the background before the next command, as people do.
    private static func wait(for command: String) -> String {
        let words = command.split(separator: " ")
        let sign: String
        switch words.first {
        case "CacheServer": sign = "CacheServer ask \(words.dropFirst().first ?? "") info"
        case "luod": sign = "luoctl session list"
        default: sign = "luoctl session list | grep 'open *2'"  // a program that holds a session with two files
        }
        return "for i in {1..300}; do \(sign) >/dev/null 2>&1 && break; sleep 0.1; done"
    }

    private static func withoutNumbers(_ lines: [String]) -> [String] {
        // The width of a column depends on the numbers in it.
        lines.map { $0.replacing(#/[0-9]+/#, with: "0").replacing(#/ +/#, with: " ") }
    }
}
