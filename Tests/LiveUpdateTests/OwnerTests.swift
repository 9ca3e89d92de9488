// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Several users in one orchestrator: each user has names of its own, and no session moves to another user.
@Suite struct OwnerTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let boot: Orchestrator
    private let files: [MemoryFile]

    init() throws {
        machine = try Machine()
        boot = try machine.boot(.nextBoot, handler)
        files = try (0..<3).map { _ in try MemoryFile() }
    }

    private func holder(_ user: SessionUser, _ slot: Int64 = -1, isDetached: Bool = false) -> SessionHolder {
        SessionHolder(user: user, slot: DescriptorSlot(slot), isDetached: isDetached)
    }

    /// Makes a session "s" for root, for user 7 and for user 8, each with a file. Its token is the number of the user.
    private func createAll() throws {
        for (user, file) in zip([0, 7, 8] as [SessionUser], files) {
            let session = try boot.createSession("s", holder: holder(user, 50 + Int64(user), isDetached: user == 7))
            try session.preserve(file.descriptor, token: UInt64(user))
        }
    }

    @Test("Each user can have a session of the same name, in both directions") func names() throws {
        try createAll()
        for user in [0, 7, 8] as [SessionUser] {
            #expect(errno { try boot.createSession("s", holder: holder(user)) } == .fileExists)
            #expect(try boot.session("s", .outgoing, of: user) != nil)
        }
        #expect(try boot.session("s", .outgoing, of: 9) == nil && boot.session("s", .incoming, of: 7) == nil)
        try boot.publish()

        let next = try machine.boot(.nextBoot, handler)
        #expect(errno { try next.retrieveSession("s", holder: holder(9)) } == .noSuchFileOrDirectory)
        for user in [8, 0, 7] as [SessionUser] {
            let session = try next.retrieveSession("s", holder: holder(user))
            #expect(session.tokens == [UInt64(user)])
            #expect(errno { try next.retrieveSession("s", holder: holder(user)) } == .invalidArgument)
            #expect(errno { try next.createSession("s", holder: holder(user)) } == nil, "the other direction")
        }
    }

    @Test(
        "The user and the detached flag stay after a crash and an update, and the slot only after a crash"
    )
    func holders() throws {
        try createAll()
        let crashed = try machine.boot(.sameBoot, handler)
        #expect(
            try crashed.openSessions.map(\.holder) == [holder(0, 50), holder(7, 57, isDetached: true), holder(8, 58)])
        try crashed.publish()
        let next = try machine.boot(.nextBoot, handler)
        let came = [holder(0), holder(7, isDetached: true), holder(8)]
        #expect(try next.status().sessions.map(\.holder) == came)
        // A session stays detached when a client opens it.
        let session = try next.retrieveSession("s", holder: holder(7, 3))
        #expect(session.holder == holder(7, 3, isDetached: true))
        #expect(try machine.boot(.sameBoot, handler).openSessions.map(\.holder) == [session.holder])
    }

    @Test("The holder can change, but not the user") func newHolder() throws {
        let session = try boot.createSession("s", holder: holder(7, 3))
        try session.hold(by: holder(7, isDetached: true))
        #expect(session.holder == holder(7, isDetached: true))
        #expect(errno { try session.hold(by: holder(8, 4)) } == .invalidArgument)
        #expect(session.holder == holder(7, isDetached: true))
        #expect(try machine.boot(.sameBoot, handler).openSessions.map(\.holder) == [session.holder])
        try session.close()
        #expect(errno { try session.hold(by: holder(7)) } == .badFileDescriptor)
    }

    @Test("A user's usage is the same after a crash and an update") func usage() throws {
        try createAll()
        _ = try boot.createSession("t", holder: holder(7))
        func check(_ boot: Orchestrator, _ sessions: Int, _ files: Int) {
            #expect(boot.usage(of: 7).sessions == sessions && boot.usage(of: 7).files == files)
        }
        check(boot, 2, 1)
        #expect(boot.usage(of: 9) == Usage())
        check(try machine.boot(.sameBoot, handler), 2, 1)
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler)
        check(next, 2, 1)
        let session = try next.retrieveSession("s", holder: holder(7))
        try session.finish()
        check(next, 2, 0)
        try session.close()
        check(next, 1, 0)
        try next.retrieveSession("t", holder: holder(7)).close()
        #expect(next.usage(of: 7) == Usage())
    }
}
