// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// luoctl with a hostile luod. No answer crashes luoctl, and it prints no control characters of an answer.
@Suite struct LuoctlAnswerTests {
    private func ctl(_ daemon: FakeDaemon, _ arguments: [String]) async throws -> Ended {
        try await run([Program.path("luoctl")] + arguments + ["--state", daemon.state])
    }

    /// A luod that answers STATUS with `status`, and all other calls with `other`.
    private func daemon(
        status: String, _ other: @escaping FakeDaemon.Answering = { [.init($0.answer())] }
    ) throws -> FakeDaemon {
        try FakeDaemon { request in
            // The rest of the status comes with the next pages.
            guard request.number == Call.status.rawValue else { return other(request) }
            let lines = Array(status.utf8).dropFirst(Int(StatusCall(request.body).session) * 40_000)
            let page = lines.prefix(40_000)
            let next = StatusCall(request.body).session + 1
            let body = lines.count > page.count ? StatusCall(boot: 1, session: next).body : StatusCall().body
            return [.init(request.answer(body: body) + page)]
        }
    }

    /// A status with some members replaced.
    private func status(_ members: String = "", files: String = "") -> String {
        """
        {"luod":{"schema":"luod-status-3","orchestrator":1,"keeper":1,"processes":[],"keeper_answers":true,"updates":0,"last_blackout":null,\
        "arena_size":4096,"arena_used":0,"flbs":[]\(members)}}
        {"session":{"number":1,"name":"vm","owner":0,"direction":"outgoing",\
        "is_open":false,"is_finished":false,"is_detached":true,"is_attached":false}}
        \(files)

        """
    }

    private func file(_ token: Int, size: String = "4096", retrieved: String = "0", problem: String = "null") -> String
    {
        """
        {"file":{"token":"\(token)","compatible":"memfd-extents-v1","size":\(size),"retrieved":\(retrieved),"problem":\(problem)}}
        """
    }

    @Test("Numbers at the ends of their range are shown") func largeNumbers() async throws {
        let files = [
            file(1, size: "\(UInt64.max)", retrieved: "\(Int32.min)"), file(2, size: "\(UInt64.max)", retrieved: "7"),
            file(3, size: "null", retrieved: "-5000"),
        ]
        let text = status(files: files.joined(separator: "\n"))
            .replacingOccurrences(of: "\"updates\":0", with: "\"updates\":\(UInt64.max)")
            .replacingOccurrences(of: "\"last_blackout\":null", with: "\"last_blackout\":\(UInt64.max)")
            .replacingOccurrences(of: "\"arena_used\":0", with: "\"arena_used\":\(UInt64.max)")
        let daemon = try daemon(status: text)
        for command in [["status"], ["status", "--json"], ["session", "list"], ["session", "list", "--json"]] {
            let ended = try await ctl(daemon, command)
            // A file is lost.
            #expect(ended.status == (command[0] == "status" ? 1 : 0), "\(command): \(ended)")
        }
        let listed = try await ctl(daemon, ["session", "list", "--json"])
        #expect(listed.output.contains("\"bytes\" : \(UInt64.max)") && listed.output.contains("\"lost_files\" : 1"))
        #expect(try await ctl(daemon, ["session", "list"]).output.contains("3, 1 lost"))
        #expect(try await ctl(daemon, ["status"]).output.contains("lost"))
    }

    @Test("A status with other types, or without content, is an error") func oddDocuments() async throws {
        let documents = [
            "", "[]", "null", "{}", "{\"sessions\":7}", status(",\"x\":").dropLast().description,
            status().replacingOccurrences(of: "\"updates\":0", with: "\"updates\":-1"),
            status().replacingOccurrences(of: "\"owner\":0", with: "\"owner\":1e300"),
            status().replacingOccurrences(of: "\"keeper\":1", with: "\"keeper\":99999999999"),
            status(files: file(1, size: "-1")), status(files: file(1, size: "\"big\"")),
            status(files: file(1, retrieved: "1e10")), status(files: file(1, problem: "{}")),
            String(repeating: "[", count: 100_000),
        ]
        for document in documents {
            let daemon = try daemon(status: document)
            for command in [["status"], ["session", "list", "--json"]] {
                let ended = try await ctl(daemon, command)
                #expect(ended.status == 1, "\(document.prefix(100)): \(ended)")
                #expect(ended.errors.contains("same version"), "\(document.prefix(100)): \(ended)")
            }
        }
    }

    @Test("Pages without end, and a page with a descriptor, are errors") func oddPages() async throws {
        let endless = try FakeDaemon { request in [.init(request.answer(body: StatusCall(boot: 1, session: 1).body))] }
        #expect(try await ctl(endless, ["status"]).errors.contains("same version"))
        let file = try MemoryFile()
        let withFile = try FakeDaemon { request in [.init(request.answer(), [file.descriptor])] }
        #expect(try await ctl(withFile, ["status"]).errors.contains("same version"))
        let asked = Guarded(0)
        let stale = try FakeDaemon { request in
            asked.with { $0 += 1 }
            return StatusCall(request.body).isFirst
                ? [.init(request.answer(body: StatusCall(boot: 1, session: 1).body))] : [.init(request.answer(-116))]
        }
        #expect(try await ctl(stale, ["status"]).errors.contains("ESTALE"))
        #expect(asked.with { $0 } == 16, "a status that an update divides is read again, but not for ever")
    }

    @Test("Control characters are not printed") func controlCharacters() async throws {
        let escape = "\\u001b[2J\\u0007"
        let text = status(files: file(1, problem: "\"\(escape)why\"")).replacingOccurrences(
            of: "\"vm\"", with: "\"\(escape)\""
        )
        .replacingOccurrences(of: "\"outgoing\"", with: "\"out\(escape)\"")
        let daemon = try daemon(status: text) { request in
            var body = UpdateCall(text: "first\u{1b}[2J\nsecond\u{7}").body
            body.replaceSubrange(0..<4, with: nativeBytes(UInt32(body.count)))
            return [.init(request.answer(-16, body: body))]
        }
        for command in [["status"], ["session", "list"], ["update"], ["stop"], ["session", "rm", "vm"]] {
            let ended = try await ctl(daemon, command)
            let printed = (ended.output + ended.errors).unicodeScalars
            #expect(!printed.contains("\u{1b}") && !printed.contains("\u{7}"), "\(command): \(ended)")
        }
    }

    @Test("An answer without its descriptor is an error about the limit on open files") func truncated() async throws {
        let session = try FakeDaemon.session { request in [.init(request.answer())] }
        defer { try? closeDescriptor(session) }
        let daemon = try FakeDaemon { request in [.init(request.answer(), [session])] }
        let ended = try await run(
            [
                "/bin/sh", "-c", "ulimit -n 4; exec \"$0\" session create s --state \"$1\"", Program.path("luoctl"),
                daemon.state,
            ])
        #expect(ended.status == 1 && ended.errors.contains("EMFILE"), "\(ended)")
        #expect(ended.errors.contains("ulimit -n") && ended.errors.contains("nothing is lost"), "\(ended)")
    }

    @Test(
        "luoctl says that it cannot read its own arguments", .enabled(if: geteuid() == 0, "not root: hides /proc"))
    func unreadableArguments() async throws {
        let ended = try await run([
            "/usr/bin/unshare", "-m", "/bin/sh", "-c", "mount -t tmpfs none /proc && exec \"$0\" status",
            Program.path("luoctl"),
        ])
        #expect(ended.status == 69 && ended.errors.contains("the arguments cannot be read: mount /proc"), "\(ended)")
    }

    @Test("An update lists all files that cannot be frozen, including those that the answer had no room for")
    func allObstacles() async throws {
        let files = (1...5).map { file($0, problem: "\"\($0) bytes, and had 4096\"") }
        let said = """
            files cannot be frozen:
            user 0, session "vm", token 1: 1 bytes, and had 4096
            user 0, session "vm", token 2: 2 bytes, and had 4096
            and 3 more: luoctl status shows them
            remedy: mend them, or go on without them
            """
        let daemon = try daemon(status: status(files: files.joined(separator: "\n"))) { request in
            [.init(request.answer(-116, body: UpdateCall(text: said).body))]
        }
        let ended = try await ctl(daemon, ["update"])
        #expect(ended.status == 1 && ended.errors.contains("ESTALE"), "\(ended)")
        for token in 1...5 {
            let line = "session \"vm\", token \(token): \(token) bytes, and had 4096"
            #expect(ended.errors.components(separatedBy: line).count == 2, "once: \(line)\n\(ended)")
        }
        #expect(!ended.errors.contains("more"), "\(ended)")
        #expect(ended.errors.hasSuffix("\n  mend them, or go on without them\n"), "\(ended)")
        let shown = try await ctl(daemon, ["status"])
        #expect(shown.status == 0 && shown.output.contains("token 5: 5 bytes, and had 4096"), "\(shown)")
        #expect(try await ctl(daemon, ["status", "--json"]).output.contains("\"problem\" : \"3 bytes, and had 4096\""))
    }

    @Test("The cost of an update is printed, also as JSON") func cost() async throws {
        let daemon = try daemon(status: status()) { request in
            var asked = UpdateCall(request.body)
            asked.text = "lost: session \"a\"\nlost: session \"b\", token 7"
            return [.init(request.answer(0, body: asked.body))]
        }
        let ended = try await ctl(daemon, ["update", "--discard", "--leave-out"])
        #expect(
            ended.status == 0 && ended.lines.suffix(2) == ["lost: session \"a\"", "lost: session \"b\", token 7"],
            "\(ended)")
        struct Report: Decodable {
            let version: Int
            let remarks: [String]
        }
        let report = try await ctl(daemon, ["update", "--json"]).json(Report.self)
        #expect(report.version == 1 && report.remarks.count == 2)
    }

    @Test("stop lists all losses, and names a luod that does not end") func stop() async throws {
        let text = "session \"vm\", token 1: 4096 bytes\nsession \"vm\", token 2: 8192 bytes"
        let remedy = "\nremedy: lose them (luoctl stop --discard)"
        let running = status().replacingOccurrences(of: "\"keeper\":1", with: "\"keeper\":\(getpid())")
        let daemon = try daemon(status: running) { request in
            let flags = UpdateCall(request.body).flags
            let isDiscarded = flags == UpdateCall.discard
            let call = UpdateCall(text: isDiscarded ? text : text + remedy)
            return [.init(request.answer(isDiscarded ? 0 : -16, body: call.body))]
        }
        let refused = try await ctl(daemon, ["stop"])
        #expect(
            refused.status == 1 && refused.errors.contains("EBUSY") && refused.errors.contains("--discard"),
            "\(refused)")
        #expect(refused.errors.contains("token 1: 4096 bytes") && refused.errors.contains("token 2: 8192 bytes"))
        struct Report: Decodable {
            let stopped: Bool
            let lost: [String]
        }
        let report = try await ctl(daemon, ["stop", "--json"])
        #expect(try report.status == 1 && report.json(Report.self).lost.count == 2 && !report.json(Report.self).stopped)
        let stuck = try await ctl(daemon, ["stop", "--discard", "--patience", "0"])
        #expect(stuck.status == 1 && stuck.errors.contains("process \(getpid())"), "\(stuck)")
    }

    @Test("A session is removed by its name as the status writes it, with the given flags") func removal()
        async throws
    {
        let asked = Guarded<[UpdateCall]>([])
        let daemon = try daemon(status: status()) { request in
            asked.with { $0.append(UpdateCall(request.body)) }
            return [.init(request.answer(0, body: UpdateCall(text: "handler x, token 1: cannot finish").body))]
        }
        for options in [[], ["--incoming", "--force"], ["--outgoing"]] {
            let ended = try await ctl(daemon, ["session", "rm", "caf\\xe9"] + options)
            #expect(ended.status == 0 && ended.lines == ["handler x, token 1: cannot finish"], "\(ended)")
        }
        #expect(asked.with { $0.map(\.flags) } == [0, UpdateCall.incoming | UpdateCall.force, UpdateCall.outgoing])
        #expect(asked.with { $0.map(\.text) } == ["caf\\xe9", "caf\\xe9", "caf\\xe9"])
    }

    @Test("--user sends AS_USER first, by number or name, before the command or after it") func acting()
        async throws
    {
        let asked = Guarded<[(number: UInt8, word: UInt32)]>([])
        let daemon = try daemon(status: status()) { request in
            asked.with { $0.append((request.number, WordCall(body: request.body).word)) }
            return [.init(request.answer(request.number == Call.asUser.rawValue ? 0 : -2))]
        }
        let ways = [
            ["session", "list", "--user", "2002"], ["--user", "2002", "session", "list"], ["--user=2002", "status"],
            ["status", "--user", "nobody"], ["session", "rm", "vm", "--user", "2002"],
            ["finish", "--session", "vm", "--user", "2002"],
            ["--user", "2002", "retrieve", "--session", "vm", "--token", "1", "--", "true"],
            ["preserve", "--session", "vm", "--token", "1", "--path", "/dev/null", "--user", "2002"],
            ["unpreserve", "--session", "vm", "--token", "1", "--user", "2002"],
            ["session", "create", "vm", "--user", "2002"], ["session", "attach", "vm", "--user", "2002"],
        ]
        for way in ways {
            asked.with { $0 = [] }
            _ = try await run([Program.path("luoctl")] + way, environment: ["LUO_STATE=\(daemon.state)"])
            let first = try #require(asked.with { $0.first }, "\(way)")
            #expect(first.number == Call.asUser.rawValue, "\(way)")
            #expect(first.word == (way.contains("nobody") ? nobody : 2002), "\(way)")
        }
        for user in ["4294967295", "4294967296", "-1", "no such user", "", "1.5"] {
            let ended = try await ctl(daemon, ["status", "--user", user])
            #expect(ended.status == 64, "\(user): \(ended)")
        }
    }

    @Test(
        "Numbers out of range are wrong arguments, and the message names the range",
        arguments: [
            ["preserve", "--session", "s", "--fd", "3", "--token", "-1"],
            ["preserve", "--session", "s", "--fd", "3", "--token", "18446744073709551616"],
            ["preserve", "--session", "s", "--token", "1", "--fd", "99999999999"],
            ["preserve", "--session", "s", "--token", "1", "--fd", "-3"],
            ["preserve", "--session", "s", "--token", "1", "--fd", "3", "--pid", "0"],
            ["preserve", "--session", "s", "--token", "1", "--fd", "3", "--pid", "99999999999"],
            ["unpreserve", "--session", "s", "--token", "-1"], ["unpreserve", "--session", "s"],
            ["retrieve", "--session", "s", "--token", "-1", "--", "true"],
            ["retrieve", "--session", "s", "--token", "0x1", "--", "true"],
            ["retrieve", "--session", "s", "--token", "1", "--take", "--as-held", "--", "true"],
        ]) func numbers(arguments: [String]) async throws
    {
        let ended = try await run([Program.path("luoctl")] + arguments, environment: ["LUO_STATE=/nowhere"])
        #expect(ended.status == 64, "\(ended)")
        #expect(ended.errors.contains("number from") || ended.errors.contains("say "), "\(ended)")
    }

    @Test("A socket that this user may not use gives 77, with a remedy", .requiresRoot) func permission() async throws {
        let daemon = try FakeDaemon { _ in nil }
        _ = unsafe chmod(daemon.state, 0o711)
        for command in [["status"], ["session", "rm", "s"], ["stop"], ["run", "--", "true"]] {
            var arguments = command
            arguments.insert(contentsOf: ["--state", daemon.state], at: 1 + (command[0] == "session" ? 1 : 0))
            let ended = try await luoctlAsNobody(arguments)
            #expect(ended.status == 77 && ended.errors.contains("--socket-group"), "\(command): \(ended)")
            #expect(ended.errors.contains("without --state") == (command[0] == "run"), "\(command): \(ended)")
        }
    }
}
