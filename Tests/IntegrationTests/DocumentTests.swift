// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The commands in README.md and docs/. Each ```console block runs as it is written, and must print the shown output,
/// except for numbers. The test does not run `make`, but .ci/run must have each target.
@Suite(.requiresRoot) struct DocumentTests {
    @Test(.requiresHugePages(16), arguments: try Document.all())
    func commandsAreTrue(document: Document) async throws {
        for command in document.commands {
            if let target = command.makeTarget {
                #expect(try Document.automaticRun().contains("make \(target)"), "\(document.name): \(command.text)")
            } else {
                try await check(command, document.name)
            }
        }
    }

    private func check(_ command: Document.Command, _ name: String) async throws {
        let script = "cd '\(Document.root.path)' && PATH='\(Program.directory)':$PATH && \(command.text)"
        let ended = try await run(["/bin/sh", "-c", script])
        #expect(ended.status == command.status, "\(name): \(command.text)\n\(ended)")
        let printed = Set((ended.output + "\n" + ended.errors).split(separator: "\n").map { Self.shape(String($0)) })
        for line in command.output where line != "…" {
            #expect(printed.contains(Self.shape(line)), "\(name): \(command.text) does not print: \(line)\n\(ended)")
        }
    }

    /// A line without numbers, because numbers, sums and the width of columns differ from run to run.
    private static func shape(_ line: String) -> String {
        line.split(separator: " ").map { word in word.contains(where: \.isNumber) ? "N" : String(word) }
            .joined(separator: " ")
    }
}

/// A document that contains commands.
struct Document: Sendable, CustomTestStringConvertible {
    struct Command: Sendable {
        /// The command without the comment that gives its exit code, such as `# exit 1`.
        let text: String
        let status: CInt
        var output: [String] = []

        /// The target of a make command: `demo` for `make demo`.
        var makeTarget: Substring? { text.hasPrefix("make ") ? text.split(separator: " ")[1] : nil }
    }

    let name: String
    let commands: [Command]

    var testDescription: String { name }

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func all() throws -> [Document] {
        let docs = try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent("docs").path)
        let names = ["README.md"] + docs.filter { $0.hasSuffix(".md") }.sorted().map { "docs/\($0)" }
        return try names.map { try Document(name: $0, text: text($0)) }.filter { !$0.commands.isEmpty }
    }

    static func automaticRun() throws -> String { try text(".ci/run") }

    private static func text(_ name: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)
    }

    private init(name: String, text: String) {
        self.name = name
        var commands: [Command] = []
        var isInside = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") {
                isInside = line == "```console"
            } else if isInside, line.hasPrefix("$ ") {
                let parts = line.dropFirst(2).components(separatedBy: "  # exit ")
                commands.append(Command(text: parts[0], status: parts.count > 1 ? CInt(parts[1]) ?? -1 : 0))
            } else if isInside, !line.isEmpty, !commands.isEmpty {
                commands[commands.count - 1].output.append(String(line))
            }
        }
        self.commands = commands
    }
}
