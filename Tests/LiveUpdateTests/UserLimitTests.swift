// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Limits for one user. Beyond a limit the error names the limit, and nothing changes. Released objects no longer
/// count.
@Suite struct UserLimitTests {
    private let machine: Machine
    private let handler = TestHandler { hooks in
        hooks.preserve = { file throws(LiveUpdateError) in try file.storage.allocate(1024) }
    }
    private let flb = TestFLB()
    private let boot: Orchestrator
    private static let user = SessionHolder(user: 7)

    init() throws {
        machine = try Machine()
        boot = try machine.boot(.nextBoot, handler, flb)
    }

    /// The state that a refusal must not change.
    private struct Found: Equatable {
        let sessions: [String]
        let used: UInt64
        let kept: Set<DescriptorSlot>
        let counts: [UInt64]
    }

    private func found() throws -> Found {
        let status = try boot.status()
        return Found(
            sessions: status.sessions.map { "\($0.name) \($0.files.map(\.token))" }, used: status.arenaUsed,
            kept: machine.descriptors.held, counts: status.flbs.map(\.count))
    }

    @Test("Sessions: EUSERS") func sessions() throws {
        try boot.limitUsers(to: UserLimits(sessions: 2))
        let first = try boot.createSession("a", holder: Self.user)
        _ = try boot.createSession("b", holder: Self.user)
        let before = try found()
        let refused = failure { try boot.createSession("c", holder: Self.user) }
        #expect(refused?.errno == .tooManyUsers)
        #expect(refused?.remedy?.contains("raise the limit") == true)
        #expect(try found() == before)
        #expect(errno { try boot.createSession("b", holder: Self.user) } == .fileExists, "before the limit")

        #expect(errno { try boot.createSession("c", holder: SessionHolder(user: 8)) } == nil, "another user")
        for name: SessionName in ["a", "b", "c"] { _ = try boot.createSession(name) }
        try first.close()
        _ = try boot.createSession("c", holder: Self.user)
    }

    @Test("Incoming sessions count, too, until they are closed") func incomingSessions() throws {
        try boot.limitUsers(to: UserLimits(sessions: 1))
        _ = try boot.createSession("a", holder: Self.user)
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        try next.limitUsers(to: UserLimits(sessions: 1))
        #expect(errno { try next.createSession("b", holder: Self.user) } == .tooManyUsers)
        let came = try next.retrieveSession("a", holder: Self.user)
        try came.finish()
        #expect(errno { try next.createSession("b", holder: Self.user) } == .tooManyUsers)
        try came.close()
        _ = try next.createSession("b", holder: Self.user)
    }

    enum End: CaseIterable, Sendable {
        case unpreserve, getAndUnpreserve, close
    }

    @Test("Files: EDQUOT, before any handler is asked to preserve it", arguments: End.allCases) func files(_ end: End)
        throws
    {
        try boot.limitUsers(to: UserLimits(files: 2))
        let files = try (0..<4).map { _ in try MemoryFile() }
        let (first, second) = (
            try boot.createSession("a", holder: Self.user), try boot.createSession("b", holder: Self.user)
        )
        try first.preserve(files[0].descriptor, token: 0)
        try second.preserve(files[1].descriptor, token: 1)
        handler.clear()
        let before = try found()
        let refused = failure { try second.preserve(files[2].descriptor, token: 2) }
        #expect(refused?.errno == .diskQuotaExceeded)
        #expect(refused?.remedy?.contains("raise the limit") == true)
        #expect(handler.calls.isEmpty)
        #expect(try found() == before)
        #expect(errno { try second.preserve(files[2].descriptor, token: 1) } == .fileExists, "before the limit")
        let taken = failure { try second.preserve(files[0].descriptor, token: 2) }
        #expect(taken?.errno == .resourceBusy, "before the limit")
        #expect(taken?.reason.hasSuffix("is held already: token 0 of session \"a\"") == true)

        try boot.createSession("a").preserve(files[3].descriptor, token: 3)
        switch end {
        case .unpreserve: try first.unpreserve(token: 0)
        case .getAndUnpreserve: _ = try first.getAndUnpreserve(token: 0)
        case .close: try first.close()
        }
        try second.preserve(files[2].descriptor, token: 2)
        #expect(errno { try second.preserve(files[0].descriptor, token: 0) } == .diskQuotaExceeded)
    }

    @Test("Incoming files count until they are finished") func incomingFiles() throws {
        let files = try (0..<2).map { _ in try MemoryFile() }
        try boot.createSession("a", holder: Self.user).preserve(files[0].descriptor, token: 0)
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        try next.limitUsers(to: UserLimits(files: 1))
        let session = try next.createSession("b", holder: Self.user)
        #expect(errno { try session.preserve(files[1].descriptor, token: 0) } == .diskQuotaExceeded)
        try next.retrieveSession("a", holder: Self.user).finish()
        try session.preserve(files[1].descriptor, token: 0)
    }

    @Test("Bytes of the arena: ENOSPC, and the preserve is undone") func arena() throws {
        try boot.limitUsers(to: UserLimits(arenaBytes: 2048))
        let files = try (0..<4).map { _ in try MemoryFile() }
        let session = try boot.createSession("a", holder: Self.user)
        for token in 0..<2 { try session.preserve(files[token].descriptor, token: UInt64(token)) }
        #expect(boot.usage(of: 7).arenaBytes == 2048)
        handler.clear()
        let before = try found()
        let refused = failure { try session.preserve(files[2].descriptor, token: 2) }
        #expect(refused?.errno == .noSpace)
        #expect(refused?.reason.contains("user 7") == true && refused?.remedy?.contains("raise the limit") == true)
        #expect(handler.calls == ["preserve 2", "unpreserve 2"])
        #expect(try found() == before)

        try boot.createSession("a").preserve(files[3].descriptor, token: 3)
        try session.unpreserve(token: 0)
        #expect(boot.usage(of: 7).arenaBytes == 1024)
        try session.preserve(files[2].descriptor, token: 2)
    }

    @Test("New records of a freeze count instead of the old ones") func frozen() throws {
        handler.change { hooks in
            hooks.freeze = { file throws(LiveUpdateError) in
                file.storage.drop(file.data)
                return try file.storage.allocate(4096)
            }
        }
        let file = try MemoryFile()
        try boot.createSession("a", holder: Self.user).preserve(file.descriptor, token: 1)
        try boot.publish()
        #expect(try machine.boot(.nextBoot, handler, flb).usage(of: 7).arenaBytes == 4096)
    }

    @Test("A lowered limit removes nothing, and existing objects can be released") func lowered() throws {
        let files = try (0..<3).map { _ in try MemoryFile() }
        let session = try boot.createSession("a", holder: Self.user)
        let other = try boot.createSession("b", holder: Self.user)
        for token in 0..<2 { try session.preserve(files[token].descriptor, token: UInt64(token)) }
        let again = try machine.boot(.sameBoot, handler, flb)
        try again.limitUsers(to: UserLimits(sessions: 0, files: 0, arenaBytes: 0))
        let found = try again.openSessions
        #expect(found.map(\.tokens) == [[0, 1], []])
        #expect(errno { try found[0].preserve(files[2].descriptor, token: 2) } == .diskQuotaExceeded)
        _ = try found[0].getAndUnpreserve(token: 0)
        try found[0].unpreserve(token: 1)
        for session in found { try session.close() }
        #expect(again.usage(of: 7) == Usage())
        _ = other
    }
}
