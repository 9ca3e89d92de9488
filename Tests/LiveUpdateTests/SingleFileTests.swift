// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A file leaves its outgoing session, with or without a new descriptor for the caller. The session continues with the
/// other files.
@Suite struct SingleFileTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let flb = TestFLB()
    private let boot: Orchestrator
    private let session: Session
    private let files: [MemoryFile]

    init() throws {
        machine = try Machine()
        boot = try machine.boot(.nextBoot, handler, flb)
        session = try boot.createSession("s")
        files = try (0..<3).map { _ in try MemoryFile() }
        for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
        handler.clear()
    }

    enum Way: CaseIterable, Sendable {
        case getAndUnpreserve, unpreserve

        func end(_ token: UInt64, of session: Session) throws {
            switch self {
            case .getAndUnpreserve: _ = try session.getAndUnpreserve(token: token)
            case .unpreserve: try session.unpreserve(token: token)
            }
        }
    }

    @Test("One callback is called, and token, file and descriptor are free again", arguments: Way.allCases)
    func everythingIsFree(_ way: Way) throws {
        let used = try boot.status().arenaUsed
        try way.end(1, of: session)
        #expect(handler.calls == ["unpreserve 1"])
        #expect(session.tokens == [0, 2])
        #expect(machine.descriptors.held.count == 2)
        #expect(errno { try way.end(1, of: session) } == .noSuchFileOrDirectory)

        // The file can have another token, its token another file, and the file can be in another session.
        let other = try MemoryFile()
        try session.preserve(files[1].descriptor, token: 9)
        try session.preserve(other.descriptor, token: 1)
        #expect(session.tokens == [0, 2, 9, 1], "in the order in which they were preserved")
        try way.end(9, of: session)
        try boot.createSession("t").preserve(files[1].descriptor, token: 0)
        #expect(try boot.status().arenaUsed == used)
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        #expect(try next.retrieveSession("s").tokens == [0, 2, 1])
    }

    @Test("Getting a file many times changes nothing, also after a crash")
    func getChangesNothing() throws {
        let before = try machine.file.bytes()
        for _ in 0..<3 { _ = try session.get(token: 1) }
        #expect(try machine.file.bytes() == before)
        #expect(handler.calls.isEmpty && flb.calls == ["preserve"])
        #expect(session.tokens == [0, 1, 2])
        let again = try machine.boot(.sameBoot, handler, flb)
        let found = try #require(try again.openSessions.first)
        _ = try found.get(token: 1)
        #expect(found.tokens == [0, 1, 2])
    }

    @Test("The answer is another descriptor of the same open file description, closed on exec")
    func theDescriptor() throws {
        try files[1].descriptor.setPosition(5)
        let got = try session.get(token: 1)
        try files[1].descriptor.setPosition(77)
        #expect(try got.borrowed.position() == 77)
        #expect(try FileStatus(of: got.borrowed).identity == files[1].identity)
        #expect(got.borrowed.rawValue != files[1].descriptor.rawValue)
    }

    @Test("The FLB goes with the last file, and comes again with the next", arguments: Way.allCases)
    func counts(_ way: Way) throws {
        func count() throws -> [UInt64] { try boot.status().flbs.map(\.count) }
        #expect(try count() == [3])
        for token in [1, 0] as [UInt64] { try way.end(token, of: session) }
        #expect(try count() == [1])
        #expect(flb.calls == ["preserve"])
        try way.end(2, of: session)
        #expect(try count().isEmpty)
        #expect(flb.calls == ["preserve", "unpreserve"])
        try session.preserve(files[0].descriptor, token: 0)
        #expect(flb.calls == ["preserve", "unpreserve", "preserve"])
        try session.close()
        #expect(machine.descriptors.held.isEmpty)
    }

    @Test("The file's unpreserve comes first, then its FLBs in reverse link order")
    func order() throws {
        let log = Guarded<[String]>([])
        let handler = TestHandler { hooks in hooks.unpreserve = { _ in log.with { $0.append("file") } } }
        let flbs = ["first-v1", "second-v1"].map { name in
            TestFLB(name) { hooks in hooks.unpreserve = { _ in log.with { $0.append(name) } } }
        }
        let boot = try Machine().boot(.nextBoot, handler, flbs[0], flbs[1])
        let session = try boot.createSession("s")
        try session.preserve(files[0].descriptor, token: 1)
        try session.unpreserve(token: 1)
        #expect(log.with { $0 } == ["file", "second-v1", "first-v1"])
    }

    @Test("Errors come in their order", arguments: Way.allCases)
    func errors(_ way: Way) throws {
        #expect(errno { try way.end(99, of: session) } == .noSuchFileOrDirectory)
        let closed = try boot.createSession("closed")
        try closed.close()
        #expect(errno { try way.end(99, of: closed) } == .badFileDescriptor)

        let other = try MemoryFile()
        let early = try Machine()
        let first = try early.boot(.nextBoot, handler, flb)
        try first.createSession("came").preserve(other.descriptor, token: 1)
        try first.publish()
        let next = try early.boot(.nextBoot, handler, flb)
        let incoming = try next.retrieveSession("came")
        #expect(errno { try way.end(1, of: incoming) } == .invalidArgument)
        #expect(errno { try way.end(99, of: incoming) } == .invalidArgument, "before the token is looked for")
        try incoming.finish()
        try incoming.close()
        #expect(errno { try way.end(99, of: incoming) } == .invalidArgument, "before it is closed")
        try next.publish()
        #expect(errno { try way.end(99, of: incoming) } == .operationNotSupportedByDevice, "before its direction")
    }

    @Test("Inside a callback or a getter's closure the error is EDEADLK", arguments: Way.allCases)
    func insideAGetter(_ way: Way) throws {
        let session = session
        let answer = try boot.withOutgoing(flb) { _ in errno { try way.end(1, of: session) } }
        #expect(answer == .deadlock)
        #expect(session.tokens == [0, 1, 2])
    }

    @Test("After a crash the session is unchanged", arguments: Way.allCases)
    func afterACrash(_ way: Way) throws {
        try way.end(1, of: session)
        try session.preserve(files[1].descriptor, token: 3)
        try way.end(0, of: session)
        let again = try machine.boot(.sameBoot, TestHandler(), flb)
        let found = try #require(try again.openSessions.first)
        #expect(found.tokens == [2, 3])
        #expect(try again.status().flbs.map(\.count) == [2])
        for token in found.tokens { try way.end(token, of: found) }
        #expect(try again.status().flbs.isEmpty)
        #expect(machine.descriptors.held.isEmpty)
    }
}
