// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import TestSupport
import Testing

/// Every message that a user can provoke with wrong arguments or at the wrong time, in one file. To read it, name the
/// file in the variable `LIVEUPDATE_MESSAGES`. Rules hold for each message, and docs/troubleshooting.md quotes only
/// messages that are there or in the sources.
@Suite struct MessageCatalogueTests {
    /// A wrong use of a program.
    private struct Provocation {
        var program = "luoctl"
        let arguments: [String]
        var environment: [String] = []
        let status: CInt
    }

    private struct Message {
        let command: String
        let expected: CInt
        let ended: Ended

        var text: String { "$ \(command)  # exit \(ended.status.map(String.init) ?? "by a signal")\n\(ended.errors)" }
    }

    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory(in: "/tmp") }

    // MARK: The test

    @Test("Each message names its program once, has no trap and no bare errno, and says what to do", .requiresRoot)
    func catalogue() async throws {
        let messages = try await all()
        let path = ProcessInfo.processInfo.environment["LIVEUPDATE_MESSAGES"] ?? directory.file("messages")
        try messages.map(\.text).joined(separator: "\n").write(toFile: path, atomically: false, encoding: .utf8)
        for message in messages { check(message) }
        #expect(messages.count > 100)
        let written = try String(contentsOfFile: path, encoding: .utf8)
        for quote in try TroubleshootingDocument.quotes() {
            #expect(
                quote.fragments.allSatisfy { written.contains($0) } || quote.isInSources(),
                "no message has the words of docs/troubleshooting.md: \(quote.text)")
        }
    }

    private func check(_ message: Message) {
        // A line of luod's log begins with the time and the level.
        let errors = message.ended.errors.replacing(#/^\d[^ ]*Z error /#, with: "")
        func expect(_ condition: Bool, _ rule: String) { #expect(condition, "\(rule):\n\(message.text)") }
        expect(message.ended.status == message.expected, "the exit code is \(message.expected)")
        let own = errors.hasPrefix("luoctl: ") || errors.hasPrefix("luod")
        expect(own, "the message begins with the program")
        let rest = errors.drop { $0 != ":" }.dropFirst(2)
        expect(!["luoctl:", "luod:", "luod[", "error:"].contains { rest.lowercased().hasPrefix($0) }, "one prefix")
        for word in ["Error:", "Fatal error", "Optional(", "SystemCallError", "/proc and /sys", "\u{1B}", "()", "nil"] {
            expect(!errors.contains(word), "the message is without \(word)")
        }
        expect(rest.count > 20 && !rest.hasPrefix("\n"), "the message has words")
        let directions = [
            ";", "See '", ": give", "say ", ": name ", ": make ", "behind --", "see above", "luod --help",
        ]
        expect(directions.contains { errors.contains($0) }, "the message says what to do")
    }

    // MARK: The messages

    private func all() async throws -> [Message] {
        let daemon = try await RunningDaemon(["--socket-mode", "0600"])
        var messages: [Message] = []
        for one in wrongArguments + withoutDaemon + wrongStarts(daemon) {
            messages.append(try await provoke(one))
        }
        func state(_ one: Provocation) -> Provocation {
            Provocation(
                program: one.program, arguments: one.arguments, environment: ["LUO_STATE=\(daemon.state)"],
                status: one.status)
        }
        let client = try daemon.connect()
        let session = try client.create("taken")
        for one in beforeAnUpdate { messages.append(try await provoke(state(one))) }
        messages.append(try await asNobody(daemon))
        #expect(try await run([Program.path("luoctl"), "update", "--state", daemon.state]).status == 0)
        for one in afterAnUpdate { messages.append(try await provoke(state(one))) }
        withExtendedLifetime(session) {}
        return messages
    }

    private func provoke(_ one: Provocation) async throws -> Message {
        let command = [Program.path(one.program)] + one.arguments
        let ended = try await run(command, environment: one.environment)
        return Message(
            command: ([one.program] + one.arguments.map { $0.isEmpty ? "''" : $0 }).joined(separator: " "),
            expected: one.status, ended: ended)
    }

    private func asNobody(_ daemon: RunningDaemon) async throws -> Message {
        let ended = try await luoctlAsNobody(["status", "--state", daemon.state])
        return Message(command: "luoctl status  (another user)", expected: 77, ended: ended)
    }

    private func usage(_ lines: [String]) -> [Provocation] { provocations(64, lines) }

    /// The commands of lines, of which `''` is an empty argument.
    private func provocations(_ status: CInt, _ lines: [String]) -> [Provocation] {
        lines.map { line in
            Provocation(
                arguments: line.split(separator: " ").map { $0 == "''" ? "" : String($0) }, status: status)
        }
    }

    private var wrongArguments: [Provocation] {
        usage([
            "frobnicate", "--state /x", "status --frobnicate", "status a b", "status --state ''", "status --timeout -1",
            "status --timeout 70000", "status --user nosuchuser", "status --user 4294967295",
            "check", "check ''", "check 0", "check fd:x", "check pid:-1", "check 99999999999",
            "inspect", "inspect --limit 0 x", "inspect --limit x y", "inspect /", "inspect /nonexistent",
            "hugepages frob", "hugepages reserve", "hugepages reserve --size 3M --count 1",
            "hugepages reserve --size 2M --count -1", "hugepages reserve --size 2M --count x",
            "hugepages reserve --size 2M --count 0", "hugepages reserve --size 2M --count 1 --node -1",
            "hugepages reserve --size 2M --count 1 --node x", "hugepages release --size x --count 1",
            "session frob", "session create a b", "session list extra", "session rm", "session attach",
            "preserve", "preserve --session a --token -1 --fd 3", "preserve --session a --token x --fd 3",
            "preserve --session a --token 18446744073709551616 --fd 3", "preserve --session a --token 1",
            "preserve --session a --token 1 --fd -1", "preserve --session a --token 1 --pid 0 --fd 3",
            "preserve --session a --token 1 --pid 1 --mapping zz", "unpreserve --session a",
            "unpreserve --session a --token -1", "retrieve --session a", "retrieve --session a --token 1",
            "retrieve --session a --token -1 -- true", "finish", "load ''", "update ''", "update --patience-ready -1",
            "update --patience-ready 99999999", "stop --timeout x", "run", "run --as-kernel 9 -- true",
            "kexec frob extra", "dax frob", "dax plan", "dax plan --size 1", "dax plan --size x",
            "demo --files 0", "demo --files 1001", "demo --updates x", "demo --size x", "demo --page-size 3M",
            "demo --sabotage frob", "replay", "replay /nonexistent", "bench frob", "bench update --max-memory x",
        ])
    }

    /// Commands that need luod, or something else that is not there.
    private var withoutDaemon: [Provocation] {
        let long = "/tmp/" + String(repeating: "y", count: 120)
        let commands = [
            "status", "session list", "session create s", "session attach s", "session rm s", "load", "update",
            "reload",
            "preserve --session s --token 1 --path /proc/self/exe", "unpreserve --session s --token 1",
            "retrieve --session s --token 1 -- true", "finish --session s", "stop", "run --state /nowhere -- true",
        ]
        return provocations(69, commands).map {
            Provocation(arguments: $0.arguments, environment: ["LUO_STATE=/nowhere"], status: $0.status)
        }
            + provocations(
                69,
                [
                    "status --state \(long)", "status --state /etc/passwd", "check /nonexistent", "check pid:999999",
                    "check fd:99",
                    "hugepages reserve --size 2M --count 99999999", "hugepages reserve --size 2M --count 1 --node 77",
                    "hugepages release --size 2M --count 99999999",
                ]) + provocations(127, ["run -- /nonexistent"]) + provocations(126, ["run -- /etc/passwd"])
    }

    private func wrongStarts(_ daemon: RunningDaemon) -> [Provocation] {
        func luod(_ status: CInt, _ arguments: String...) -> Provocation {
            Provocation(program: "luod", arguments: arguments, status: status)
        }
        let bad = directory.file("bad")
        try? FileManager.default.createDirectory(atPath: bad, withIntermediateDirectories: false)
        _ = FileManager.default.createFile(atPath: "\(bad)/arena", contents: Data("x".utf8), attributes: nil)
        return [
            luod(64, "frob"), luod(64, "--state"), luod(64, "--state", ""), luod(64, "--max-files", "0"),
            luod(64, "--max-files", "-1"), luod(64, "--max-sessions", "x"), luod(64, "--max-arena", "1"),
            luod(64, "--max-user-huge-pages", "x"), luod(64, "--socket-mode", "9"),
            luod(64, "--socket-group", "nosuchgroup"), luod(64, "--as-kernel", "1"), luod(64, "--silence", "1"),
            luod(64, "--patience", "99999999999999999999"), luod(65, "--state", "/etc/passwd"),
            luod(69, "--state", "/proc/x"), luod(64, "--state", "/tmp/" + String(repeating: "y", count: 120)),
            luod(69, "--state", daemon.state), luod(65, "--state", bad),
        ]
    }

    private var beforeAnUpdate: [Provocation] {
        let name = String(repeating: "x", count: 80)
        return provocations(
            1,
            [
                "session create ''", "session create \(name)", "session create taken", "session attach taken",
                "session attach nosuch", "session rm nosuch", "session rm taken", "finish --session nosuch",
                "preserve --session nosuch --token 1 --path /etc/passwd",
                "preserve --session taken --token 1 --path /dev/null", "status nosuch",
                "retrieve --session taken --token 1 -- true", "retrieve --session nosuch --token 1 -- true",
                "unpreserve --session nosuch --token 1", "update /bin/sleep", "update /nonexistent",
                "load /etc/passwd", "load /nonexistent", "reload /bin/sleep", "reload --keeper /nonexistent",
            ])
            + provocations(
                1,
                [
                    "preserve --session taken --token 1 --path /nonexistent",
                    "preserve --session taken --token 1 --pid 999999 --fd 0",
                    "preserve --session taken --token 1 --pid \(getpid()) --fd 9999",
                    "preserve --session taken --token 1 --pid \(getpid()) --mapping 0x1000",
                ])
            + provocations(
                127, ["retrieve --session taken --token 1 -- /nonexistent"])
    }

    private var afterAnUpdate: [Provocation] {
        provocations(
            1,
            [
                "preserve --session taken --token 1 --path /proc/self/exe", "unpreserve --session taken --token 1",
                "retrieve --session taken --token 7 -- true", "update", "session attach nosuch",
            ])
    }
}

/// The table of docs/troubleshooting.md.
private enum TroubleshootingDocument {
    /// A quoted message. Words in capitals and `…` stand for something else each time.
    struct Quote {
        let text: String
        let fragments: [String]

        init(_ text: String) {
            self.text = text
            var fragments = [""]
            for word in text.split(separator: " ") {
                let isPlaceholder = word == "…" || word.allSatisfy { $0.isUppercase || "\",:;".contains($0) }
                if isPlaceholder && !word.allSatisfy({ "\",:;".contains($0) }) {
                    fragments.append("")
                } else {
                    fragments[fragments.count - 1] += (fragments[fragments.count - 1].isEmpty ? "" : " ") + word
                }
            }
            self.fragments = fragments.filter { $0.count > 3 }
        }

        /// Whether one file of the sources has all fragments.
        func isInSources() -> Bool {
            guard let files = FileManager.default.enumerator(atPath: Document.root.path + "/Sources") else {
                return false
            }
            for case let name as String in files where name.hasSuffix(".swift") {
                guard let text = try? String(contentsOfFile: Document.root.path + "/Sources/" + name, encoding: .utf8)
                else { continue }
                let joined = text.replacingOccurrences(
                    of: "\"\\s*\\+ \"", with: "", options: .regularExpression)
                if fragments.allSatisfy({ joined.contains($0) || joined.contains($0.replacing("\"", with: "\\\"")) }) {
                    return true
                }
            }
            return false
        }
    }

    /// The quotes in the first column of each table.
    static func quotes() throws -> [Quote] {
        let path = Document.root.appendingPathComponent("docs/troubleshooting.md").path
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }
        let quotes = rows.flatMap { row -> [Quote] in
            let cell = row.split(separator: "|")[0]
            return cell.split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }.map {
                Quote(String($0.element))
            }
        }
        try #require(quotes.count > 20)
        return quotes
    }
}
