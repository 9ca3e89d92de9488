// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A session's name means a session of the caller's own user. Root reaches another user's session only as that user.
@Suite(.requiresRoot) struct NamesTests {
    private let daemon: RunningDaemon
    private let user: UInt32 = 2002

    init() async throws { daemon = try await RunningDaemon(["--socket-mode", "0666"]) }

    private func stranger() throws -> DaemonClient { try daemon.connect(as: user) }

    private func detached(_ client: DaemonClient, _ name: SessionName) throws -> DaemonClient {
        let session = try client.create(name)
        try session.setDetached(true)
        return session
    }

    @Test("Root finds no session of another user by its name, before an update and after") func strangersSession()
        throws
    {
        let (mine, root) = (try stranger(), try daemon.connect())
        try detached(mine, "vm").close()
        for direction in [AttachedDirection.any, .outgoing, .incoming] {
            #expect(try refusal { try root.attach("vm", direction) } == .noSuchFileOrDirectory)
        }
        #expect(try root.remove("vm", flags: UpdateCall.force)?.errno == .noSuchFileOrDirectory)
        #expect(try root.change(.update) == nil)
        #expect(try refusal { try root.retrieveSession("vm") } == .noSuchFileOrDirectory)
        #expect(try refusal { try root.attach("vm") } == .noSuchFileOrDirectory)
        #expect(try root.status().sessions.map(\.owner) == [user], "root sees it")
        try mine.attach("vm", .incoming).close()
    }

    @Test(
        "AS_USER: root acts as a user from then on, also after the death of the orchestrator", arguments: [false, true])
    func asUser(dies: Bool) throws {
        let (mine, root) = (try stranger(), try daemon.connect())
        let file = try MemoryFile()
        let session = try detached(mine, "vm")
        try session.preserve(file, 1)
        session.close()
        let orchestrator = try root.status().orchestrator
        try root.act(as: user)
        if dies { kill(orchestrator) }
        #expect(try root.status().sessions.map(\.owner) == [user])
        let attached = try root.attach("vm")
        #expect(try attached.get(1).identity == file.identity)
        try root.create("theirs").setDetached(true)
        #expect(try mine.status().sessions.map(\.name).sorted() == ["theirs", "vm"])
        #expect(try root.change(.load)?.errno == .notPermitted, "the user that it acts as may not")
        try root.act(as: 0)
        #expect(try refusal { try root.attach("theirs") } == .noSuchFileOrDirectory)
    }

    @Test("Only root may use AS_USER") func privilege() throws {
        let mine = try stranger()
        for other in [0, user, 7] { #expect(try refusal { try mine.act(as: other) } == .notPermitted) }
        #expect(try mine.status().sessions.isEmpty)
        #expect(try refusal { try daemon.connect().act(as: .max) } == .invalidArgument)
    }

    @Test("Root that acts as a user has none of that user's limits") func limits() async throws {
        let daemon = try await RunningDaemon(
            ["--socket-mode", "0666", "--max-sessions", "1", "--max-files", "1", "--max-user-descriptors", "6"])
        let (mine, root) = (try daemon.connect(as: user), try daemon.connect())
        let held = try mine.create("a")
        try held.preserve(try MemoryFile(), 1)
        #expect(try refusal { try mine.create("b") } == .tooManyUsers)
        try root.act(as: user)
        let more = try root.create("b")
        for token in 0..<8 { try more.preserve(try MemoryFile(), UInt64(token)) }
        #expect(try refusal { try held.preserve(try MemoryFile(), 2) } == .diskQuotaExceeded)
    }

    @Test("A file is held once per user: another user can preserve it, too") func heldPerUser() throws {
        let (mine, root) = (try stranger(), try daemon.connect())
        let file = try MemoryFile(bytes: [1, 2, 3])
        let (first, second) = (try mine.create("a"), try root.create("a"))
        try first.preserve(file, 1)
        try second.preserve(file, 1)
        #expect(try refusal { try first.preserve(file, 2) } == .resourceBusy)
        #expect(try refusal { try second.preserve(file, 2) } == .resourceBusy)
        try first.preserve(file.descriptor, 3, as: .preserveHeld)
        try first.preserve(file.descriptor, 4, as: .preserveHeld)
        try second.unpreserve(1)
        try second.preserve(file.descriptor, 5, as: .preserveHeld)
        try second.preserve(file, 1)
        #expect(try root.change(.update) == nil)
        for client in [mine, root] {
            let session = try client.retrieveSession("a")
            #expect(try session.retrieve(1).bytes() == [1, 2, 3])
            let again = try client.create("b")
            #expect(try refusal { try again.preserve(file, 1) } == .resourceBusy, "handed over, and not finished")
            try session.finish()
            try again.preserve(file, 1)
        }
    }

    @Test("A session holds its name for its own user; the same token and name of two users travel together")
    func sameNames() throws {
        let (mine, root) = (try stranger(), try daemon.connect())
        let files = (try MemoryFile(bytes: [1]), try MemoryFile(bytes: [2]))
        try detached(mine, "s").preserve(files.0, 1)
        try detached(root, "s").preserve(files.1, 1)
        #expect(try root.change(.update) == nil)
        #expect(try root.retrieveSession("s").retrieve(1).bytes() == [2])
        #expect(try mine.retrieveSession("s").retrieve(1).bytes() == [1])
    }

    private func kill(_ process: pid_t) { Glibc.kill(process, SIGKILL) }
}
