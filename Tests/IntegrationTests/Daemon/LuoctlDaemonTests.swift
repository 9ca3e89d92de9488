// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// luoctl's commands that talk to luod: their use, and their messages for each errno.
@Suite struct LuoctlDaemonTests: LuoctlSuite {
    let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon(["--socket-mode", "0666"]) }

    /// The machine-readable status.
    private struct Report: Decodable {
        struct Session: Decodable {
            let name: String
            let direction: String
            let isDetached: Bool
            let files: [File]
        }

        struct File: Decodable {
            let token: String
            let compatible: String
            let size: UInt64?
        }

        struct Process: Decodable {
            let name: String
            let seccomp: String
            let hasNoNewPrivileges: Bool
            let capabilities: [String]
        }

        let version: Int
        let boot: Int
        let sessions: [Session]
        let processes: [Process]
    }

    private func report() async throws -> Report { try await ctl("status", "--json").json(Report.self) }

    private struct Times: Decodable {
        let loadNs: UInt64
        let blackoutNs: UInt64?
    }

    @Test("A name that is not UTF-8 is printed by its bytes") func names() async throws {
        let name = SessionName(bytes: Array("caf".utf8) + [0xe9])
        let client = try daemon.connect()
        let session = try client.create(name)
        try session.setDetached(true)
        #expect(try session.name() == name)
        session.close()
        #expect(try await report().sessions.map(\.name) == ["caf\\xe9"])
        #expect(try await ctl("status").output.contains("caf\\xe9 "))
        expect(try await ctl("session", "attach", "caf\\xe9"))
        expect(try await ctl("session", "rm", "caf\u{e9}"), 1, says: "ENOENT")
        expect(try await ctl("update"))
        expect(try await ctl("session", "rm", "caf\\xe9"))
        #expect(try await report().sessions.isEmpty)
    }

    @Test("A name on the command line is a string of bytes") func rawNames() async throws {
        func make(_ bytes: String) async throws -> Ended {
            try await run(
                ["/bin/sh", "-c", "exec \"$0\" session create \"$(printf '\(bytes)')\"", Program.path("luoctl")],
                environment: ["LUO_STATE=\(daemon.state)"])
        }
        for bytes in ["\\377", "\\376", "caf\\303\\251"] { expect(try await make(bytes)) }
        expect(try await make("\\377"), 1, says: "EEXIST", "\\xff")
        #expect(try await report().sessions.map(\.name) == ["\\xff", "\\xfe", "caf\u{e9}"])
    }

    @Test("Files are taken all or none, and files that no program gets are put back") func putBack()
        async throws
    {
        expect(try await ctl("session", "create", "vm"))
        let room = try TemporaryDirectory()
        let odd = room.file("odd")
        _ = try await run(["/bin/sh", "-c", "printf '\\001' >\"$0\"; chmod 755 \"$0\"", odd])
        for token in ["1", "2"] {
            let file = try MemoryFile(bytes: [UInt8]("file \(token)".utf8))
            expect(
                try await ctl("preserve", "--session", "vm", "--token", token, "--fd", "3", inheriting: file.descriptor)
            )
        }
        let ends = try FileDescriptor.pipe()
        defer { for end in [ends.readEnd, ends.writeEnd] { try? closeDescriptor(end) } }
        expect(
            try await ctl(
                "preserve", "--session", "vm", "--token", "3", "--fd", "3", "--held", inheriting: ends.readEnd))
        func take(_ tokens: [String], _ program: String) async throws -> Ended {
            try await run(
                [Program.path("luoctl"), "retrieve", "--session", "vm", "--take"]
                    + tokens.flatMap { ["--token", $0] } + ["--", program], environment: ["LUO_STATE=\(daemon.state)"])
        }
        expect(try await take(["1", "1"], "true"), 64, says: "twice")
        expect(try await take(["1", "3", "99"], "true"), 1, says: "ENOENT", "token 99")
        expect(try await take(["1"], "no-such-program"), 127, says: "nothing was taken")
        expect(try await take(["1"], "/etc/passwd"), 126, says: "nothing was taken")
        expect(try await take(["1", "2", "3"], odd), 126, says: "the files are in their session")
        let tokens = try await report().sessions[0].files.map(\.token)
        #expect(Set(tokens) == ["1", "2", "3"])
        let program = ["/bin/sh", "-c", "cat <&3; cat <&4"]
        let taken = try await run(
            [Program.path("luoctl"), "retrieve", "--session", "vm", "--take", "--token", "2", "--token", "1", "--"]
                + program, environment: ["LUO_STATE=\(daemon.state)"])
        #expect(taken.status == 0 && taken.output == "file 2file 1", "\(taken)")
    }

    @Test("A status that cannot be written is a failure", arguments: [[], ["--json"], ["--watch"]])
    func fullDisk(options: [String]) async throws {
        let ended = try await run(
            ["/bin/sh", "-c", "exec \"$0\" status \"$@\" >/dev/full", Program.path("luoctl")] + options,
            environment: ["LUO_STATE=\(daemon.state)"])
        expect(ended, 69, says: "No space left")
    }

    @Test("session create, attach, rm") func sessions() async throws {
        expect(try await ctl("session", "create", "vm"))
        expect(try await ctl("session", "create", "vm"), 1, says: "EEXIST", "vm")
        expect(try await ctl("session", "create", String(repeating: "n", count: 64)), 1, says: "EINVAL")
        expect(try await ctl("session", "attach", "vm"))
        expect(try await ctl("session", "attach", "other"), 1, says: "ENOENT")
        var sessions = try await report().sessions
        #expect(sessions.map(\.name) == ["vm"] && sessions[0].isDetached)
        let client = try daemon.connect()
        let held = try client.attach("vm")
        expect(try await ctl("session", "rm", "vm"), 1, says: "EBUSY")
        held.close()

        expect(try await ctl("update"))
        expect(try await ctl("session", "create", "vm"))
        expect(try await ctl("session", "attach", "vm", "--incoming"))
        expect(try await ctl("session", "rm", "vm", "--incoming", "--outgoing"), 64)
        expect(try await ctl("session", "rm", "vm", "--incoming"))
        sessions = try await report().sessions
        #expect(sessions.map(\.direction) == ["outgoing"])
        expect(try await ctl("session", "rm", "vm", "--incoming"), 1, says: "ENOENT")
        expect(try await ctl("session", "rm", "vm"))
        expect(try await ctl("session", "rm", "vm"), 1, says: "ENOENT")
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("preserve an inherited descriptor, one of a process, and a file by path; never a session") func preserve()
        async throws
    {
        let files = try (0..<4).map { try MemoryFile(bytes: [UInt8](repeating: UInt8($0), count: 10)) }
        let missing = try await ctl(
            "preserve", "--session", "vm", "--token", "1", "--fd", "3", inheriting: files[0].descriptor)
        expect(missing, 1, says: "ENOENT", "session create")
        #expect(try await report().sessions.isEmpty)
        expect(try await ctl("session", "create", "vm"))
        func preserve(_ token: String, _ arguments: String...) async throws -> Ended {
            try await run(
                [Program.path("luoctl"), "preserve", "--session", "vm", "--token", token] + arguments,
                environment: ["LUO_STATE=\(daemon.state)"], inheriting: files[0].descriptor)
        }
        expect(try await preserve("1", "--fd", "3"))
        expect(try await preserve("1", "--fd", "3"), 1, says: "EEXIST")
        expect(try await preserve("2", "--fd", "3"), 1, says: "EBUSY")
        expect(try await preserve("2", "--fd", "9"), 1, says: "EBADF")
        let (own, number) = ("\(getpid())", "\(files[1].descriptor.rawValue)")
        expect(try await preserve("2", "--pid", own, "--fd", number))
        expect(try await preserve("3", "--pid", own, "--fd", "1048000"), 1, says: "EBADF")
        expect(try await preserve("18446744073709551615", "--path", "/proc/\(own)/fd/\(files[2].descriptor.rawValue)"))
        expect(try await preserve("4", "--path", "/etc/passwd"), 1, says: "ENOENT", "--held")
        expect(try await preserve("4", "--path", "/etc/passwd", "--held"))
        expect(try await preserve("5", "--path", "/nowhere"), 1, says: "ENOENT", "/nowhere")
        expect(try await preserve("5"), 64)
        expect(try await preserve("5", "--fd", "3", "--path", "/x"), 64)
        let session = try #require(try await report().sessions.first)
        #expect(session.files.map(\.token) == ["1", "2", "18446744073709551615", "4"])
        #expect(session.files.map(\.compatible) == [String](repeating: "memfd-extents-v1", count: 3) + ["held-fd-v1"])
        #expect(session.files.prefix(3).map(\.size) == [10, 10, 10])
    }

    @Test("retrieve runs a program with the files as its descriptors 3, 4 …, before an update and after it; finish")
    func retrieve() async throws {
        expect(try await ctl("session", "create", "vm"))
        for (token, text) in [("7", "seven"), ("8", "eight")] {
            let file = try MemoryFile(bytes: [UInt8](text.utf8))
            expect(
                try await ctl("preserve", "--session", "vm", "--token", token, "--fd", "3", inheriting: file.descriptor)
            )
        }
        let program = ["/bin/sh", "-c", "cat <&3; echo; cat <&4; test ! -e /proc/self/fd/5"]
        func retrieve(_ arguments: String...) async throws -> Ended {
            try await run(
                [Program.path("luoctl"), "retrieve", "--session", "vm"] + arguments + ["--"] + program,
                environment: ["LUO_STATE=\(daemon.state)"])
        }
        expect(try await retrieve("--token", "8", "--token", "7"), 1, says: "ENOENT")
        expect(try await ctl("finish", "--session", "vm"), 1, says: "ENOENT")
        let file = try MemoryFile(bytes: [UInt8]("nine".utf8))
        expect(try await ctl("preserve", "--session", "vm", "--token", "9", "--fd", "3", inheriting: file.descriptor))
        let taken = try await retrieve("--take", "--token", "9", "--token", "7")
        #expect(taken.status == 0 && taken.lines == ["nine", "seven"], "\(taken)")
        expect(try await retrieve("--take", "--token", "9"), 1, says: "ENOENT", "token 9")

        expect(try await ctl("update"), says: "blackout")
        expect(try await retrieve("--take", "--token", "8"), 1, says: "ENOENT")
        let seven = try MemoryFile(bytes: [UInt8]("new".utf8))
        expect(try await ctl("session", "create", "vm"))
        expect(try await ctl("preserve", "--session", "vm", "--token", "7", "--fd", "3", inheriting: seven.descriptor))
        let came = try await retrieve("--token", "8", "--token", "8")
        #expect(came.status == 0 && came.lines.first == "eight", "\(came)")
        expect(try await retrieve("--token", "7"), 1, says: "ENOENT", "token 7")
        expect(
            try await ctl("retrieve", "--session", "vm", "--token", "8", "--", "no-such-program"), 127,
            says: "no-such-program", "session")
        expect(try await ctl("retrieve", "--session", "vm", "--token", "8"), 64)

        expect(try await ctl("update"), 1, says: "EBUSY", "\"vm\"")
        expect(try await ctl("finish", "--session", "vm"))
        expect(try await ctl("finish", "--session", "vm"), 1, says: "ENOENT")
        #expect(try await report().sessions.map(\.direction) == ["outgoing"])
        expect(try await ctl("update"))
        expect(try await ctl("update"), 1, says: "EBUSY", "discard")
        expect(try await ctl("update", "--discard"))
        #expect(try await report().sessions.isEmpty)
        #expect(try await report().boot == 4)
    }

    @Test("load, update, reload, and bad images") func images() async throws {
        let loaded = try await ctl("load", "--json").json(Times.self)
        #expect(loaded.loadNs > 0 && loaded.blackoutNs == nil)
        let updated = try await ctl("update", "--json").json(Times.self)
        #expect(try #require(updated.blackoutNs) > 0)
        expect(try await ctl("load", Program.path("luod")), says: "loaded in")
        expect(try await ctl("reload"), says: "hand over", "blackout")
        #expect(try await report().boot == 2)
        for command in ["load", "update", "reload"] {
            expect(try await ctl(command, "/nowhere"), 1, says: "EOPNOTSUPP", "/nowhere")
            expect(try await ctl(command, "bin/false"), 1, says: "EOPNOTSUPP")
            expect(try await ctl(command, ""), 64)
        }
        #expect(try await report().boot == 2)
    }

    @Test(.requiresRoot) func onlyRootUpdates() async throws {
        for command in ["load", "update", "reload"] {
            expect(try await luoctlAsNobody([command, "--state", daemon.state]), 77, says: "EPERM", "root")
        }
        expect(try await luoctlAsNobody(["session", "create", "mine", "--state", daemon.state]))
        expect(try await luoctlAsNobody(["status", "--state", daemon.state]), says: "mine")
        expect(try await ctl("status"), says: "nobody")
    }

    @Test("--state comes before LUO_STATE; without a luod the code is 69, with a remedy") func state() async throws {
        let other = try await RunningDaemon()
        expect(try await ctl("session", "create", "here"))
        expect(try await ctl("session", "create", "there", "--state", other.state))
        #expect(try await report().sessions.map(\.name) == ["here"])
        #expect(try other.connect().status().sessions.map(\.name) == ["there"])
        let commands = [
            ["status"], ["session", "create", "s"], ["session", "attach", "s"], ["session", "rm", "s"],
            ["finish", "--session", "s"], ["retrieve", "--session", "s", "--token", "1", "--", "true"],
            ["preserve", "--session", "s", "--token", "1", "--path", "/proc/self/exe"], ["load"], ["update"],
            ["reload"],
        ]
        for command in commands {
            let ended = try await run([Program.path("luoctl")] + command, environment: ["LUO_STATE=/nowhere"])
            expect(ended, 69, says: "/nowhere", "luod --state")
        }
        // An empty variable is as none. A luod of the machine may run on /run/luo.
        let ended = try await run([Program.path("luoctl"), "status"], environment: ["LUO_STATE="])
        #expect(ended.status == 0 || ended.errors.contains("/run/luo"), "\(ended)")
    }

    @Test("status shows the rights of each process, also as JSON; --watch repeats it") func status() async throws {
        let shown = try await ctl("status", "--processes")
        expect(
            shown, says: "healthy", "keeper \(daemon.keeper)", "orchestrator", "seccomp", "filter", "no sessions",
            "arena:")
        let processes = try await report().processes
        #expect(processes.map(\.name) == ["keeper", "orchestrator"])
        #expect(processes[1].seccomp == "filter" && processes[1].hasNoNewPrivileges)
        for capability in processes[1].capabilities { expect(shown, says: capability) }

        let watching = try Program([Program.path("luoctl"), "status", "--watch", "--state", daemon.state])
        try await eventually("the first", within: 60) { try watching.outputSoFar.contains("boot 1") }
        expect(try await ctl("session", "create", "vm"))
        expect(try await ctl("update"))
        try await eventually("the next boot", within: 60) {
            let text = try watching.outputSoFar
            return text.contains("boot 2") && text.contains("vm")
        }
        #expect(!watching.hasEnded)
        watching.kill()
    }

    @Test("status SESSION shows its files; a lost file makes luod degraded, until it is removed") func sessionStatus()
        async throws
    {
        expect(try await ctl("status", "vm"), 1, says: "there is no session \"vm\"", "luoctl session list")
        let session = try daemon.connect().create("vm")
        try session.preserve(try MemoryFile(bytes: [1, 2]), 5)
        try session.setDetached(true)
        let shown = try await ctl("status", "vm")
        expect(
            shown, says: "session vm of user", "outgoing", "memfd-extents-v1", "preserved",
            "1 file, 4 KiB allocated of 2 B")
        daemon.killEverything()
        try await daemon.start()
        expect(try await ctl("status"), 1, says: "degraded: 1 file lost", "luoctl unpreserve --user", "1 lost")
        expect(try await ctl("status", "vm"), 1, says: "lost")
        let document = try await ctl("status", "--json")
        expect(document, 1, says: "\"is_healthy\" : false", "\"lost\" : 1", "removes it")
        expect(try await ctl("unpreserve", "--session", "vm", "--token", "5"))
        expect(try await ctl("status"), says: "healthy", "1 session, 0 files")
    }
}
