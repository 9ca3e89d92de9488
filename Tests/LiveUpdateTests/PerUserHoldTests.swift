// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A file is held once per user, so that two users that can open the same file can both preserve it.
@Suite struct PerUserHoldTests {
    private let machine: Machine
    private let file: MemoryFile
    private let flb = TestFLB()
    private let handler = TestHandler { hooks in hooks.accepts = { _ in true } }
    private let boot: Orchestrator

    init() throws {
        machine = try Machine()
        file = try MemoryFile()
        boot = try machine.boot(.nextBoot, handler, flb)
    }

    private func session(
        _ name: SessionName, of user: SessionUser, on boot: Orchestrator? = nil
    ) throws -> Session {
        try (boot ?? self.boot).createSession(name, holder: SessionHolder(user: user))
    }

    @Test("Two users preserve one file, each once; an FLB counts both; both travel") func twoUsers() throws {
        let (first, second) = (try session("a", of: 7), try session("a", of: 8))
        try first.preserve(file.descriptor, token: 1)
        try second.preserve(file.descriptor, token: 1)
        for (user, session) in [(7 as SessionUser, first), (8, second)] {
            #expect(errno { try session.preserve(file.descriptor, token: 2) } == .resourceBusy)
            #expect(errno { try self.session("b", of: user).preserve(file.descriptor, token: 2) } == .resourceBusy)
        }
        #expect(try boot.status().flbs.map(\.count) == [2])
        let again = try machine.boot(.sameBoot, handler, flb)
        try again.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        let came = try next.retrieveSession("a", holder: SessionHolder(user: 7))
        _ = try came.retrieve(token: 1)
        let new = try session("new", of: 7, on: next)
        #expect(errno { try new.preserve(file.descriptor, token: 1) } == .resourceBusy, "not finished yet")
        try session("root's", of: 0, on: next).preserve(file.descriptor, token: 1)
        try came.finish()
        try new.preserve(file.descriptor, token: 1)
        #expect(try next.status().flbs.map(\.count) == [1, 2])
    }

    @Test("One user's unpreserve leaves the other's hold") func unpreserve() throws {
        let (first, second) = (try session("a", of: 7), try session("a", of: 8))
        try first.preserve(file.descriptor, token: 1)
        try second.preserve(file.descriptor, token: 1)
        try first.unpreserve(token: 1)
        #expect(errno { try second.preserve(file.descriptor, token: 2) } == .resourceBusy)
        try first.preserve(file.descriptor, token: 1)
        try second.close()
        #expect(errno { try first.preserve(file.descriptor, token: 2) } == .resourceBusy)
    }

    @Test("An FLB learns the identities of the files that use it") func identities() throws {
        let seen = Guarded<[FileIdentity]>([])
        flb.change { hooks in
            hooks.serialize = { context throws(LiveUpdateError) in
                seen.with { $0 = context.users.map(\.identity) }
                return context.data
            }
        }
        let other = try MemoryFile()
        try session("a", of: 7).preserve(file.descriptor, token: 1)
        try session("a", of: 8).preserve(file.descriptor, token: 1)
        try session("b", of: 8).preserve(other.descriptor, token: 1)
        try boot.publish()
        #expect(seen.with { $0 }.count == 3)
        #expect(seen.with { Set($0) } == [file.identity, other.identity])
    }

    @Test("A file of a handler without holds can be preserved again, also after a crash and an update")
    func holdsNothing() throws {
        let machine = try Machine()
        let holder = TestHandler("holder-v1")
        let keeper = TestHandler("keeper-v1", holdsFile: false)
        // The next image's handler holds its files, but the flag in the record decides.
        let changed = TestHandler("keeper-v1")
        func boot(_ opening: Orchestrator.Opening, _ keeper: TestHandler) throws -> Orchestrator {
            try machine.boot(opening) { orchestrator in
                for handler in [holder, keeper] { try orchestrator.register(handler) }
            }
        }
        let first = try boot(.nextBoot, keeper)
        let session = try first.createSession("s")
        try session.preserve(file.descriptor, token: 1, as: "keeper-v1")
        try session.preserve(file.descriptor, token: 2, as: "keeper-v1")
        try session.preserve(file.descriptor, token: 3, as: "holder-v1")
        try session.preserve(file.descriptor, token: 4, as: "keeper-v1")
        #expect(errno { try session.preserve(file.descriptor, token: 5, as: "holder-v1") } == .resourceBusy)
        try session.unpreserve(token: 1)
        #expect(errno { try session.preserve(file.descriptor, token: 5, as: "holder-v1") } == .resourceBusy)

        let crashed = try boot(.sameBoot, changed)
        let again = try #require(try crashed.openSessions.first)
        try again.unpreserve(token: 3)
        try again.preserve(file.descriptor, token: 3, as: "holder-v1")
        try again.unpreserve(token: 3)
        try crashed.publish()
        let next = try boot(.nextBoot, changed)
        #expect(try next.retrieveSession("s").tokens == [2, 4])
        try next.createSession("t").preserve(file.descriptor, token: 1, as: "holder-v1")
        let last = try boot(.sameBoot, changed)
        #expect(try last.status().sessions.map(\.files.count) == [2, 1])
    }
}
