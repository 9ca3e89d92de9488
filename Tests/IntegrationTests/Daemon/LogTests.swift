// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import TestSupport
import Testing

/// The log of luod: each event of docs/log.md has one line, with its level and its fields.
@Suite struct LogTests {
    /// The lines of a log in JSON, which must all be objects.
    private func events(_ daemon: RunningDaemon) throws -> [[String: String]] {
        try daemon.log().split(separator: "\n").map { line in
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
            return object.mapValues { "\($0)" }
        }
    }

    private func daemon(_ arguments: [String] = []) async throws -> RunningDaemon {
        try await RunningDaemon(["--log-format", "json"] + arguments)
    }

    /// The one event with a message.
    private func event(_ message: String, _ daemon: RunningDaemon) async throws -> [String: String] {
        // luod answers a request before it writes the line.
        try await eventually(message, within: 60) { try daemon.log().contains("\"message\":\"\(message)\"") }
        let found = try events(daemon).filter { $0["message"] == message }
        #expect(found.count == 1, "\(message): \(found)")
        return try #require(found.first)
    }

    @Test("The start, with versions and limits") func start() async throws {
        let daemon = try await daemon(["--max-sessions", "77"])
        let start = try await event("luod serves", daemon)
        #expect(start["level"] == "info" && start["process"] == "luod-keeper" && start["pid"] == "\(daemon.keeper)")
        #expect(start["version"] == packageVersion && start["max_sessions"] == "77" && start["state"] == daemon.state)
        #expect(start["time"]?.hasSuffix("Z") == true)
    }

    @Test("A session that a client makes and ends, finishes, or removes") func sessions() async throws {
        let daemon = try await daemon()
        let client = try daemon.connect()
        let session = try client.create("a \"b\"\n")
        let made = try await event("session made", daemon)
        #expect(made["session"] == "a \"b\"\\x0a" && made["user"] == "\(geteuid())" && made["client"] == "\(getpid())")
        session.close()
        #expect(try await event("session ended", daemon)["session"] == made["session"])
        try client.create("gone").setDetached(true)
        #expect(try client.remove("gone", flags: UpdateCall.force) == nil)
        #expect(try await event("session removed", daemon)["session"] == "gone")
        let kept = try client.create("kept")
        try kept.preserve(try MemoryFile(), 1)
        #expect(try client.change(.update) == nil)
        let incoming = try client.retrieveSession("kept")
        _ = try incoming.retrieve(1)
        try incoming.finish()
        #expect(try await event("session finished", daemon)["session"] == "kept")
    }

    @Test("An update with its phases, a load and a reload, each with its client") func updates() async throws {
        let daemon = try await daemon()
        let client = try daemon.connect()
        for call in [Call.update, .load, .reload] { #expect(try client.change(call) == nil) }
        let update = try await event("update: done", daemon)
        for name in ["load_ms", "publish_ms", "take_over_ms", "switch_ms", "answer_ms", "blackout_ms"] {
            #expect(update[name].flatMap(Double.init) ?? 0 > 0, "\(name): \(update)")
        }
        #expect(update["client"] == "\(getpid())" && update["updates"] == "1" && update["level"] == "notice")
        #expect(try await event("load: done", daemon)["load_ms"] != nil)
        #expect(try await event("reload: done", daemon)["blackout_ms"] != nil)
    }

    @Test("An update that is called off, with the reason") func calledOff() async throws {
        let daemon = try await daemon()
        let client = try daemon.connect()
        #expect(try client.change(.update, image: "/bin/false") != nil)
        let lines = try events(daemon).filter { $0["message"]?.hasPrefix("update: ") == true }
        #expect(lines.count == 1 && lines[0]["level"] == "warning" && lines[0]["client"] == "\(getpid())", "\(lines)")
    }

    @Test("A process that died, and why") func death() async throws {
        let daemon = try await daemon()
        let client = try daemon.connect()
        let dead = try client.status().orchestrator
        kill(dead, SIGKILL)
        _ = try client.status()
        let line = try await event("the orchestrator ended (signal 9): another is started", daemon)
        #expect(line["level"] == "warning" && line["process"] == "luod-keeper" && line["dead"] == "\(dead)")
    }

    @Test("A limit, a few lines in a second and their number", .requiresRoot) func limit() async throws {
        let daemon = try await daemon(["--socket-mode", "0666", "--max-sessions", "1"])
        let client = try daemon.connect(as: 2002)
        let first = try client.create("first")
        for _ in 0..<50 { #expect(try refusal { try client.create("more") } == .tooManyUsers) }
        let lines = try events(daemon).filter { $0["message"]?.hasPrefix("limit reached: ") == true }
        #expect((1...15).contains(lines.count), "50 failures took less than some seconds")
        #expect(lines.allSatisfy { $0["level"] == "warning" && $0["client_user"] == "2002" })
        try await eventually("the number of omitted lines", within: 60) { try daemon.log().contains("more lines") }
        _ = first
    }

    @Test("The journal's format is the default where standard error is its stream") func journal() async throws {
        let room = try TemporaryDirectory()
        let script = "exec 2>\(room.path)/log; JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\""
        let luod = try Program(
            ["/bin/sh", "-c", script, "sh", Program.path("luod"), "--state", room.path + "/state"])
        try await eventually("a luod that is ready", within: 60) { try luod.outputSoFar.contains("ready") }
        kill(luod.process, SIGTERM)
        #expect(try await luod.ended().status == 0)
        let lines = try String(contentsOfFile: room.path + "/log", encoding: .utf8).split(separator: "\n")
        #expect(lines.count >= 2 && lines.allSatisfy { $0.hasPrefix("<6>luod-") }, "\(lines)")
    }

    @Test("An unknown format is refused: 64") func unknown() async throws {
        let ended = try await run([Program.path("luod"), "--log-format", "xml"])
        #expect(ended.status == 64 && ended.errors.contains("give text, json or journal"), "\(ended)")
    }
}
