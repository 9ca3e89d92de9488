// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Sessions that end without a close: abandoned sessions, which can be retrieved again, and sessions that end by force.
@Suite struct EndingTests {
    private let machine: Machine
    private let file: MemoryFile
    private let flb = TestFLB()
    private let handler = TestHandler()
    private let boot: Orchestrator
    private let incoming: Session

    private static let holder = SessionHolder(user: 7, slot: DescriptorSlot(40))

    init() throws {
        machine = try Machine()
        file = try MemoryFile()
        let first = try machine.boot(.nextBoot, handler, flb)
        let session = try first.createSession("came", holder: SessionHolder(user: 7))
        try session.preserve(file.descriptor, token: 1)
        let other = try MemoryFile()
        try session.preserve(other.descriptor, token: 2)
        try first.publish()
        boot = try machine.boot(.nextBoot, handler, flb)
        incoming = try boot.retrieveSession("came", holder: Self.holder)
        handler.clear()
    }

    @Test("An abandoned session is not finished, and can be retrieved again, also after a crash")
    func abandon() throws {
        _ = try incoming.retrieve(token: 1)
        try incoming.abandon()
        #expect(handler.calls == ["retrieve 1"])
        #expect(errno { try incoming.retrieve(token: 1) } == .badFileDescriptor)
        #expect(errno { try incoming.abandon() } == .badFileDescriptor)
        var status = try #require(try boot.status().sessions.first)
        #expect(!status.isOpen && status.holder.slot == .lost && status.holder.user == 7)
        let again = try machine.boot(.sameBoot, handler, flb)
        status = try #require(try again.status().sessions.first)
        #expect(!status.isOpen && status.holder.slot == .lost)
        let session = try again.retrieveSession("came", holder: Self.holder)
        _ = try session.retrieve(token: 1)
        #expect(handler.count("retrieve") == 1)
        try session.close()
        #expect(handler.count("finish") == 2)
        #expect(flb.count("finish") == 1)
    }

    @Test("A finished session ends when it is abandoned") func abandonFinished() throws {
        try incoming.finish()
        try incoming.abandon()
        #expect(try boot.status().sessions.isEmpty)
        #expect(errno { try boot.retrieveSession("came", holder: Self.holder) } == .noSuchFileOrDirectory)
    }

    @Test("An outgoing session cannot be abandoned") func abandonOutgoing() throws {
        let session = try boot.createSession("s")
        #expect(errno { try session.abandon() } == .invalidArgument)
        try session.close()
        #expect(errno { try session.abandon() } == .invalidArgument, "before it is closed")
    }

    @Test("By force a session ends despite handlers that cannot finish yet, and names them") func closeForcibly() throws
    {
        handler.change { hooks in hooks.canFinish = { $0.token != 2 } }
        #expect(errno { try incoming.finish() } == .resourceBusy)
        handler.clear()
        let refusals = try incoming.closeForcibly()
        #expect(refusals == ["handler \"test-v1\" cannot finish file 2 of session \"came\" yet"])
        #expect(handler.calls == ["canFinish 1", "canFinish 2", "finish 2", "finish 1"])
        #expect(flb.count("finish") == 1)
        #expect(try boot.status().sessions.isEmpty)
        #expect(machine.descriptors.held.isEmpty)
        #expect(try machine.boot(.sameBoot, handler, flb).status().sessions.isEmpty)
        #expect(errno { try incoming.closeForcibly() } == .badFileDescriptor)
    }

    @Test("Without a refusal nothing is named, and an outgoing session is closed") func closeForciblyWithout()
        throws
    {
        #expect(try incoming.closeForcibly().isEmpty)
        let session = try boot.createSession("s")
        try session.preserve(file.descriptor, token: 1)
        handler.clear()
        #expect(try session.closeForcibly().isEmpty)
        #expect(handler.calls == ["unpreserve 1"])
        #expect(try boot.status().sessions.isEmpty)
    }

    @Test("Retrieving as held returns a new descriptor of the same open file description, without a callback")
    func asHeld()
        throws
    {
        let before = try machine.file.bytes()
        for _ in 0..<2 {
            let held = try incoming.retrieveAsHeld(token: 1)
            #expect(try FileStatus(of: held.borrowed).identity == file.identity)
        }
        #expect(handler.calls.isEmpty)
        #expect(try machine.file.bytes() == before)
        #expect(errno { try incoming.retrieveAsHeld(token: 9) } == .noSuchFileOrDirectory)
        let outgoing = try boot.createSession("s")
        #expect(errno { try outgoing.retrieveAsHeld(token: 9) } == .invalidArgument)
        try incoming.close()
        #expect(errno { try incoming.retrieveAsHeld(token: 1) } == .badFileDescriptor)
    }

    @Test("A held descriptor can be retrieved after a failed retrieve") func asHeldAfterAFailure() throws {
        handler.change { hooks in
            hooks.retrieve = { _ throws(LiveUpdateError) in throw LiveUpdateError(.ioError, "no") }
        }
        #expect(errno { try incoming.retrieve(token: 1) } == .ioError)
        _ = try incoming.retrieveAsHeld(token: 1)
    }
}
