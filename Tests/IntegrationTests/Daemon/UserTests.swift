// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Two users and root at one daemon. No user sees another user's sessions.
@Suite(.requiresRoot) struct UserTests {
    private let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon(["--socket-mode", "0666"]) }

    @Test("No user sees, retrieves, finishes, attaches or takes another's; root can as that user") func isolation()
        throws
    {
        let (mine, other, root) = (
            try daemon.connect(as: nobody), try daemon.connect(as: nobody - 1), try daemon.connect()
        )
        let file = try MemoryFile(bytes: [1, 2, 3])
        let session = try mine.create("s")
        try session.preserve(file, 1)
        try session.setDetached(true)
        session.close()
        for who in [other, try daemon.connect(as: nobody - 1)] {
            #expect(try who.status().sessions.isEmpty)
            for direction in [AttachedDirection.any, .outgoing, .incoming] {
                #expect(try refusal { try who.attach("s", direction) } == .noSuchFileOrDirectory)
            }
            #expect(try refusal { try who.retrieveSession("s") } == .noSuchFileOrDirectory)
        }
        // Each user has names of its own, and a file is held once per user.
        let others = try other.create("s")
        try others.preserve(file, 1)
        try others.unpreserve(1)
        #expect(try other.status().sessions.map(\.owner) == [nobody - 1])
        #expect(try mine.status().sessions.map(\.owner) == [nobody])
        #expect(try root.status().sessions.map(\.owner) == [nobody, nobody - 1])

        #expect(try root.change(.update) == nil)
        #expect(try other.status().sessions.map(\.owner) == [nobody - 1])
        let came = try other.retrieveSession("s")
        #expect(try refusal { try came.retrieve(1) } == .noSuchFileOrDirectory)
        #expect(try refusal { try other.attach("s", .incoming) } == .resourceBusy, "its own, which is not detached")
        try came.finish()
        came.close()
        #expect(try refusal { try other.retrieveSession("s") } == .noSuchFileOrDirectory)

        let own = try mine.retrieveSession("s")
        #expect(try own.retrieve(1).identity == file.identity)
        own.close()
        try root.act(as: nobody)
        let roots = try root.attach("s")
        #expect(try roots.retrieve(1).bytes() == [1, 2, 3])
        #expect(try refusal { try mine.attach("s") } == .resourceBusy, "root has it")
        try roots.finish()
        try roots.setDetached(false)
        roots.close()
        // The end of root's connection and another user's request may come in either order.
        #expect(try soon(within: 60) { try mine.status().sessions.isEmpty })
    }

    @Test("Only root loads, updates and reloads", arguments: [Call.load, .update, .reload])
    func privileged(call: Call) throws {
        let mine = try daemon.connect(as: nobody)
        #expect(try mine.change(call)?.errno == .notPermitted)
        #expect(try daemon.connect().status().updates == 0)
    }

    @Test("The user that connected counts, not the program that sends") func inherited() throws {
        let mine = try daemon.connect(as: nobody)
        // From here on the thread belongs to root again.
        let session = try mine.create("s")
        defer { session.close() }
        #expect(try daemon.connect().status().sessions.map(\.owner) == [nobody])
    }
}
