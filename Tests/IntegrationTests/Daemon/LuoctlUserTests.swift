// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A session name on luoctl's command line means a session of the user that runs luoctl, or of `--user`.
@Suite(.requiresRoot) struct LuoctlUserTests: LuoctlSuite {
    let daemon: RunningDaemon
    private let user: uid_t = 2002

    init() async throws { daemon = try await RunningDaemon(["--socket-mode", "0666"]) }

    /// Makes a detached session of another user.
    private func makeTheirs(_ name: SessionName, _ files: [MemoryFile] = []) throws {
        let theirs = try daemon.connect(as: user).create(name)
        for (token, file) in files.enumerated() { try theirs.preserve(file, UInt64(token) + 1) }
        try theirs.setDetached(true)
        theirs.close()
    }

    private func owners() throws -> [UInt32] { try daemon.connect().status().sessions.map(\.owner).sorted() }

    @Test("Root's preserve does not put a file into another user's session of that name") func preserve()
        async throws
    {
        try makeTheirs("vm")
        let file = try MemoryFile(bytes: [1, 2, 3])
        let arguments = ["preserve", "--session", "vm", "--token", "1", "--fd", "3"]
        func preserve(_ more: [String]) async throws -> Ended {
            try await run(
                [Program.path("luoctl")] + arguments + more, environment: ["LUO_STATE=\(daemon.state)"],
                inheriting: file.descriptor)
        }
        expect(
            try await preserve([]), 1, says: "ENOENT", "user \(user) has a session \"vm\"", "luoctl --user \(user)")
        #expect(try daemon.connect().status().sessions.allSatisfy(\.files.isEmpty))
        expect(try await preserve(["--user", "\(user)"]))
        #expect(try daemon.connect(as: user).status().sessions.first?.files.count == 1)
    }

    @Test("retrieve and finish of an outgoing session say what to do instead") func outgoing() async throws {
        expect(try await ctl("session", "create", "new"))
        expect(
            try await ctl("retrieve", "--session", "new", "--token", "1", "--", "true"), 1,
            says: "ENOENT", "session \"new\" is outgoing", "luoctl retrieve --take")
        expect(
            try await ctl("finish", "--session", "new"), 1, says: "session \"new\" is outgoing", "luoctl session rm")
        expect(try await ctl("finish", "--session", "none"), 1, says: "no session \"none\" was handed over")
    }

    @Test("The name of a session may begin with a hyphen, behind --") func hyphen() async throws {
        expect(try await ctl("session", "create", "--", "-x"))
        expect(try await ctl("session", "list"), says: "-x")
        expect(try await ctl("session", "attach", "--", "-x"))
        expect(try await ctl("session", "rm", "--", "-x"))
        expect(try await ctl("session", "list"), says: "no sessions")
        expect(try await ctl("session", "create"), 64, says: "the name of the session")
        expect(try await ctl("session", "create", "a", "--", "true"), 64, says: "leave out the program")
        expect(try await ctl("session", "create", "--", "-x", "true"), 64, says: "leave out the program")
    }

    @Test("A user that does not exist is named") func noUser() async throws {
        expect(try await ctl("session", "create", "--user", "nosuch", "x"), 64, says: "there is no user nosuch")
        expect(try await ctl("--user", "4294967295", "status"), 64, says: "at most 4294967294")
        expect(try await ctl("status", "--user", ""), 64, says: "there is no user")
    }

    @Test("Before an update and after it, root reaches a session of another user only with --user")
    func ownNames() async throws {
        let file = try MemoryFile(bytes: Array("theirs".utf8))
        try makeTheirs("vm", [file])
        let program = ["--", "/bin/cat", "/proc/self/fd/3"]
        func retrieve(_ more: String...) async throws -> Ended {
            try await run(
                [Program.path("luoctl"), "retrieve", "--session", "vm", "--token", "1"] + more + program,
                environment: ["LUO_STATE=\(daemon.state)"])
        }
        func nothing() async throws {
            expect(try await ctl("session", "attach", "vm"), 1, says: "ENOENT", "--user \(user)")
            expect(try await ctl("session", "rm", "vm"), 1, says: "ENOENT", "--user \(user)")
            expect(try await ctl("session", "rm", "--force", "vm"), 1, says: "ENOENT", "--user \(user)")
            expect(try await ctl("finish", "--session", "vm"), 1, says: "ENOENT")
            expect(try await ctl("unpreserve", "--session", "vm", "--token", "1"), 1, says: "ENOENT")
            expect(try await retrieve(), 1, says: "ENOENT")
            expect(try await retrieve("--take"), 1, says: "ENOENT")
            #expect(try owners() == [user])
        }
        try await nothing()
        expect(try await ctl("update"))
        try await nothing()
        let came = try await retrieve("--user", "\(user)")
        #expect(came.status == 0 && came.output == "theirs", "\(came)")
        expect(try await ctl("finish", "--session", "vm", "--user", "\(user)"))
        #expect(try owners() == [])
    }

    @Test("session rm removes root's own session, and another user's session only with --user") func remove()
        async throws
    {
        try makeTheirs("same")
        expect(try await ctl("session", "create", "same"))
        expect(try await ctl("session", "rm", "same"))
        #expect(try owners() == [user])
        expect(try await ctl("session", "rm", "same"), 1, says: "ENOENT", "user \(user) has a session \"same\"")
        #expect(try owners() == [user])
        expect(try await ctl("session", "create", "same", "--user", "\(user)"), 1, says: "EEXIST")
        expect(try await ctl("session", "rm", "same", "--user", "\(user)"))
        #expect(try owners() == [])
        expect(try await ctl("session", "create", "same", "--user", "\(user)"))
        #expect(try owners() == [user])
    }

    @Test("Without --force a session stays while a client holds it")
    func force() async throws {
        let client = try daemon.connect(as: user)
        let held = try client.create("vm")
        expect(try await ctl("session", "rm", "vm", "--user", "\(user)"), 1, says: "EBUSY", "--force")
        #expect(try owners() == [user])
        let forced = try await ctl("session", "rm", "vm", "--user", "\(user)", "--force")
        #expect(forced.status == 0, "\(forced)")
        #expect(try owners() == [])
        #expect(try refusal { try held.preserve(try MemoryFile(), 1) } != nil)
        held.close()
    }

    @Test("Only root may act as another user: 77") func onlyRoot() async throws {
        try makeTheirs("vm")
        for command in [["session", "list"], ["session", "rm", "vm"], ["status"]] {
            let ended = try await luoctlAsNobody(command + ["--user", "\(user)", "--state", daemon.state])
            expect(ended, 77, says: "EPERM", "root")
            let own = try await luoctlAsNobody(["status", "--user", "\(nobody)", "--state", daemon.state])
            expect(own, says: "no sessions")
        }
        let unknown = try await luoctlAsNobody(["session", "rm", "vm", "--state", daemon.state])
        expect(unknown, 1, says: "ENOENT")
        #expect(!unknown.errors.contains("\(user)"), "it names a session that this user may not see: \(unknown)")
        #expect(try owners() == [user])
    }

    @Test("session list: sorted, with users for root, and bytes") func list() async throws {
        let files = try [100, 200].map { try MemoryFile(size: $0) }
        try makeTheirs("b", files)
        try makeTheirs("a")
        expect(try await ctl("session", "create", "z"))
        struct List: Decodable {
            struct Session: Decodable, Equatable {
                let name: String
                let owner: UInt32
                let direction: String
                let files: Int
                let bytes: UInt64
                let lostFiles: Int
                let holder: String
            }
            let version: Int
            let sessions: [Session]
        }
        let all = try await ctl("session", "list", "--json").json(List.self)
        #expect(all.version == 1 && all.sessions.map(\.name) == ["z", "a", "b"])
        #expect(
            all.sessions.last
                == .init(
                    name: "b", owner: user, direction: "outgoing", files: 2, bytes: 300, lostFiles: 0,
                    holder: "detached"))
        expect(try await ctl("session", "list"), says: "user", "2002", "300 B", "detached")
        let theirs = try await ctl("session", "list", "--user", "\(user)")
        #expect(theirs.status == 0 && theirs.lines.count == 3 && !theirs.output.contains("2002"), "\(theirs)")
    }

    @Test("A connection of the library acts as another user") func library() throws {
        try makeTheirs("vm", [try MemoryFile(bytes: [7])])
        let device = try LiveUpdateDevice.luod(state: FilePath(daemon.state), actingAs: user)
        let session = try device.attachSession("vm")
        let file = try MemoryFile(taking: try session.get(token: 1))
        #expect(try file.bytes() == [7])
        _ = try device.createSession("new")
        #expect(try device.status().sessions.allSatisfy { $0.user == user })
        let own = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        #expect(failure { try own.attachSession("vm") }?.errno == .noSuchFileOrDirectory)
        let other = try asUser(nobody) { try LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
        #expect(failure { try other.act(as: user) }?.errno == .notPermitted)
    }
}

/// Only root and luod's user may use its socket, unless the administrator opens it.
@Suite(.requiresRoot) struct LuoctlSocketTests {
    @Test("Another user is told how the socket is opened: 77") func closed() async throws {
        let daemon = try await RunningDaemon()
        for command in [["status"], ["session", "list"], ["stop"], ["run"]] {
            let program = command == ["run"] ? ["--", "/bin/true"] : []
            let ended = try await luoctlAsNobody(command + ["--state", daemon.state] + program)
            #expect(ended.status == 77, "\(command): \(ended)")
            #expect(ended.errors.contains("--socket-mode") && ended.errors.contains("--socket-group"), "\(ended)")
            #expect(ended.errors.contains("without --state") == (command == ["run"]), "\(ended)")
        }
    }
}
