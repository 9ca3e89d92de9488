// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// The gate's records of waiting and running calls.
@Suite struct GateTests {
    private func memory() throws -> FileDescriptor {
        // From then on the descriptor belongs to the table, which never closes it.
        try makeMemoryFile(named: "calls", size: CallTable.size).release()
    }

    @Test("As many calls of one user wait as may, and leave room for other users; root's are not limited")
    func waiting()
        throws
    {
        let gate = Gate(try CallTable(try memory()), Settings(state: "/nowhere"), Log("test"))
        for _ in 0..<2048 { #expect(gate.beginWaiting(1000)) }
        #expect(!gate.beginWaiting(1000))
        #expect(gate.beginWaiting(1001))
        gate.endWaiting(1000)
        #expect(gate.beginWaiting(1000))
        #expect(!gate.beginWaiting(1000))
        for _ in 0..<3000 { #expect(gate.beginWaiting(0)) }
    }

    /// A table with calls that a gate has taken. Each call has the number of its thread and its progress.
    private func table(_ calls: [(thread: UInt32, progress: CallRecord.Progress)]) throws -> CallTable {
        let memory = try memory()
        do {
            let mapping = try Mapping(of: memory, length: CallTable.size, .shared(writable: true))
            unsafe mapping.bytes.storeBytes(of: calls.count, as: Int.self)
            for (index, call) in calls.enumerated() {
                let place = (index + 1) * CallRecord.stride
                // The thread's number follows the number of the notification.
                unsafe mapping.bytes.storeBytes(of: call.thread, toByteOffset: place + 8, as: UInt32.self)
                unsafe mapping.bytes.storeBytes(
                    of: call.progress, toByteOffset: place + CallRecord.notificationLength,
                    as: CallRecord.Progress.self)
            }
        }
        return try CallTable(memory)
    }

    @Test("Recovered calls are given once to the listener that they came from, and running ones have the turns")
    func recovered() throws {
        let table = try table([
            (7, CallRecord.Progress(listener: 1)), (0, CallRecord.Progress(listener: 1)),
            (8, CallRecord.Progress(listener: 1, tag: 9, cookie: 50)),
            (9, CallRecord.Progress(listener: 2, tag: 10, cookie: 51, result: 1)),
        ])
        #expect(table.left.count == 3, "an empty place is none")
        let (calls, turns) = (RecoveredCalls(table), CallTurns())
        let places = calls.take(of: DescriptorSlot(1), turns)
        #expect(places.map { $0.notification?.thread } == [7, 8])
        #expect(calls.take(of: DescriptorSlot(1), turns).isEmpty)
        #expect(places.map { RecoveredCall($0).turn } == [nil, 50])
        #expect(places.map { RecoveredCall($0).hasRequest } == [false, true])
        var hasWaited = false
        try startThread {
            usleep(50_000)
            turns.end(50)
        }
        turns.take(50, waits: { hasWaited = true }, {})
        #expect(hasWaited, "the turn is the recovered call's")
        let done = try #require(calls.take(of: DescriptorSlot(2), turns).first)
        #expect(RecoveredCall(done).turn == nil && RecoveredCall(done).result == 0)
        turns.take(51, waits: { Issue.record("a call with a result needs no turn") }, {})
    }

    @Test("The descriptor number that a recovered call was given is known, or found by its socket")
    func givenBefore() throws {
        let (ours, theirs) = try MessageSocket.pair()
        defer { for end in [ours, theirs] { try? closeDescriptor(end) } }
        let inode = try FileStatus(of: ours).identity.inode
        let table = try table([
            (1, CallRecord.Progress(given: 5)), (1, CallRecord.Progress(socket: inode)), (1, CallRecord.Progress()),
        ])
        let caller = OtherThread(getpid())
        #expect(table.left.map { RecoveredCall($0).given(to: caller) } == [4, ours.rawValue, nil])
    }

    @Test("A copy of the table has the calls that were taken and not answered") func copy() throws {
        let (old, new) = (try memory(), try memory())
        let table = try CallTable(old)
        let places = try (0..<3).map { _ in try #require(table.take()) }
        places[1].tag = 7
        places[1].cookie = 8
        places[1].given = 0
        places[2].result = 0
        try CallTable.copy(old, to: new)
        // The copy contains the bytes that the kernel has written, too.
        let copied = try new.bytes(at: 0, count: 4 * 512)
        #expect(try copied == old.bytes(at: 0, count: 4 * 512))
        #expect(copied[0] == 3, "how many were used")
        #expect(copied[1024 + 264] == 7 && copied[1024 + 288] == 8 && copied[1024 + 272] == 1)
    }
}
