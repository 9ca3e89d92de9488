// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// An answer is committed together with the effects of its request. An orchestrator that is rebuilt from the arena
/// gives the same answer, and does not repeat the request.
@Suite struct AnswerTests {
    private let machine: Machine
    private let boot: Orchestrator

    init() throws {
        machine = try Machine()
        boot = try machine.boot(.nextBoot, TestHandler())
    }

    private func answer(_ connection: Int64, _ tag: UInt64, slot: Int64 = -1) -> Answer {
        Answer(
            RequestID(connection: DescriptorSlot(connection), tag: tag), slot: DescriptorSlot(slot))
    }

    private func rebuilt() throws -> Orchestrator {
        let again = try machine.boot(.sameBoot, TestHandler())
        try again.open()
        return again
    }

    /// Checks the last answer of a connection, here and in an orchestrator that is rebuilt from the arena.
    private func expect(_ connection: Int64, _ expected: Answer?, _ request: Comment) throws {
        #expect(boot.answer(on: DescriptorSlot(connection)) == expected, request)
        #expect(try rebuilt().answer(on: DescriptorSlot(connection)) == expected, request)
    }

    @Test("Each request that takes an answer commits it") func everyRequest() throws {
        let session = try boot.createSession("s", answering: answer(3, 1, slot: 40))
        try expect(3, answer(3, 1, slot: 40), "create")
        let (file, other) = (try MemoryFile(), try MemoryFile())
        try session.preserve(file.descriptor, token: 1, answering: answer(3, 2))
        try expect(3, answer(3, 2), "preserve")
        try session.preserve(other.descriptor, token: 2, answering: answer(4, 9))
        try expect(4, answer(4, 9), "preserve, on another connection")
        try session.hold(by: SessionHolder(slot: DescriptorSlot(41)), answering: answer(3, 3, slot: 42))
        try expect(3, answer(3, 3, slot: 42), "hold")
        try session.unpreserve(token: 2, answering: answer(3, 4))
        let unpreserved = try #require(boot.answer(on: DescriptorSlot(3)))
        #expect(unpreserved.request.tag == 4 && unpreserved.result == 0)
        _ = try session.get(token: 1)
        try expect(3, unpreserved, "get: nothing is to be done only once")
        try boot.commit(Answer(RequestID(connection: DescriptorSlot(3), tag: 6), result: -125))
        #expect(try rebuilt().answer(on: DescriptorSlot(3))?.result == -125)
        try expect(4, answer(4, 9), "each connection has its own")
    }

    @Test("A failed request commits no answer, so it may be repeated") func failed() throws {
        let session = try boot.createSession("s", answering: answer(3, 1))
        #expect(errno { try boot.createSession("s", answering: answer(3, 2)) } == .fileExists)
        #expect(errno { try session.unpreserve(token: 1, answering: answer(3, 3)) } == .noSuchFileOrDirectory)
        let closed = FileDescriptor(rawValue: -1)
        #expect(errno { try session.preserve(closed, token: 1, answering: answer(3, 4)) } == .badFileDescriptor)
        try expect(3, answer(3, 1), "the last that worked")
    }

    @Test("Answers stay when the journal is rewritten, until the connection is forgotten") func compaction() throws {
        for connection in 1...20 as ClosedRange<Int64> {
            _ = try boot.createSession("s\(connection)", answering: answer(connection, UInt64(connection), slot: 99))
        }
        boot.forget(DescriptorSlot(7))
        let generation = try machine.openArena().generation
        var rounds = 0
        while try machine.openArena().generation < generation + 3, rounds < 5000 {
            try boot.createSession("brief", answering: answer(1, UInt64(1000 + rounds))).close()
            rounds += 1
        }
        #expect(try machine.openArena().generation >= generation + 3, "the journal was written anew")
        for connection in 2...20 as ClosedRange<Int64> {
            let kept = connection == 7 ? nil : answer(connection, UInt64(connection), slot: 99)
            try expect(connection, kept, "connection \(connection)")
        }
        try expect(1, answer(1, UInt64(1000 + rounds - 1)), "the last")
        let known = try rebuilt().answeredConnections
        #expect(Set(known.map(\.number)) == Set((1...20).filter { $0 != 7 }))
    }

    @Test("The next boot has the answer to the update request, and no other") func update() throws {
        _ = try boot.createSession("s", answering: answer(3, 1, slot: 40))
        try boot.publish()
        let next = try machine.boot(.onTrial) { try $0.register(TestHandler()) }
        try next.open(answering: answer(5, 2))
        #expect(next.answer(on: DescriptorSlot(5)) == answer(5, 2))
        #expect(next.answer(on: DescriptorSlot(3)) == nil)
        try next.confirm()
        let again = try machine.boot(.sameBoot, TestHandler())
        #expect(try again.answeredConnections == [DescriptorSlot(5)])
        #expect(again.answer(on: DescriptorSlot(5)) == answer(5, 2))
    }
}
