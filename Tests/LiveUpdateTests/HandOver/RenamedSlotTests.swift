// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdate

/// Two processes of a hand-over hold the same files under different numbers. Here two stores stand for them.
@Suite struct RenamedSlotTests {
    private let machine: Machine
    private let old = InheritedDescriptors()
    private let next = InheritedDescriptors()
    private let files: [MemoryFile]
    private let boot: Orchestrator

    init() throws {
        machine = try Machine()
        files = try (0..<3).map { _ in try MemoryFile(size: 4096) }
        boot = Orchestrator(arena: try machine.openArena(), descriptors: old)
        try boot.register(TestHandler())
        let session = try boot.createSession("s")
        for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
    }

    /// Sends all held descriptors to the next store, in the opposite order.
    private func send(but missing: Int = 0) throws {
        old.beginSending()
        for slot in old.takeUnsent(boot.heldSlots).sorted(by: { $0.number > $1.number }).dropLast(missing) {
            let copy = try #require(old.descriptor(in: slot)).duplicated().release()
            try next.receive([slot], [copy])
        }
    }

    private func nextBoot() throws -> Orchestrator {
        let next = Orchestrator(arena: try machine.openArena(), descriptors: next, opening: .onTrial)
        try next.register(TestHandler())
        return next
    }

    private func expectFiles(_ body: (UInt64) throws -> OwnedDescriptor) throws {
        for (token, file) in files.enumerated() {
            let came = try body(UInt64(token))
            #expect(try FileStatus(of: came.borrowed).identity == file.identity)
        }
    }

    @Test("The next boot has its own numbers for the slots of the old one", arguments: [false, true])
    func renamed(isPrepared: Bool) throws {
        let draft = isPrepared ? try boot.draft() : nil
        try send()
        let second = try nextBoot()
        if let draft { try second.prepare(on: draft) }
        try boot.publish()
        try second.open(answering: nil)
        try second.confirm()
        next.endReceiving(inUse: try second.slots())
        #expect(Set(try second.slots()).isDisjoint(with: boot.heldSlots))
        let session = try second.retrieveSession("s")
        try expectFiles { try session.retrieve(token: $0) }
        try session.close()
    }

    @Test("A boot that goes on in another process has that process's numbers, also after the next crash")
    func goesOn() throws {
        try send()
        let second = try nextBoot()
        try second.open(answering: nil)
        try second.confirm()
        next.endReceiving(inUse: try second.slots())
        let session = try #require(try second.openSessions.first)
        try expectFiles { try session.get(token: $0) }
        let again = Orchestrator(arena: try machine.openArena(), descriptors: next, opening: .sameBoot)
        try again.register(TestHandler())
        try again.open()
        #expect(Set(try again.slots()) == Set(try second.slots()))
    }

    @Test("A file whose descriptor did not arrive is lost, and no other is taken for it") func missing() throws {
        try send(but: 1)
        // In the other process, this number means nothing or another file.
        let first = try #require(boot.heldSlots.min { $0.number < $1.number })
        // Another test may have freed a lower number between two preserves.
        let token = try #require(try boot.status().sessions.flatMap(\.files).first { $0.slot == first }).token
        old.release(first)
        let second = try nextBoot()
        try second.open(answering: nil)
        try second.confirm()
        #expect(try second.lostFiles().map(\.token) == [token])
    }

    @Test("Every request to a boot on trial is EAGAIN until the trial is over") func waiting() throws {
        try send()
        let second = try nextBoot()
        func refusals() -> [Errno?] {
            [
                errno { try second.open() }, errno { try second.createSession("t") },
                errno { try second.retrieveSession("s") }, errno { try second.status() },
                errno { try second.openSessions }, errno { try second.publish() }, errno { try second.obstacles() },
                errno { try second.finishDiscarded() },
            ]
        }
        #expect(refusals() == [Errno?](repeating: .resourceTemporarilyUnavailable, count: 8))
        try boot.publish()
        #expect(errno { try second.open() } == .resourceTemporarilyUnavailable)
        try second.open(answering: nil)
        #expect(refusals() == [Errno?](repeating: .resourceTemporarilyUnavailable, count: 8))
        try second.confirm()
        #expect(try second.status().updateNumber == 1)
    }

    @Test("A slot is sent again when its number stands for another file") func reused() async {
        // In its own process, where no other test takes the number.
        await #expect(processExitsWith: .success) {
            let tests = try RenamedSlotTests()
            let (old, slots) = (tests.old, tests.boot.heldSlots)
            #expect(old.takeUnsent(slots).isEmpty, "no image is started")
            old.beginSending()
            #expect(Set(old.takeUnsent(slots + [.lost])) == Set(slots))
            #expect(old.takeUnsent(slots).isEmpty)
            let last = try #require(slots.max { $0.number < $1.number })
            old.release(last)
            let new = try MemoryFile(size: 4096)
            var kept = try old.keep(new.descriptor)
            while kept.number < last.number { kept = try old.keep(new.descriptor) }
            #expect(kept == last && old.takeUnsent(slots) == [last])
            old.endSending()
            #expect(old.takeUnsent(slots).isEmpty)
        }
    }

    @Test("Received descriptors that the state does not name are closed at the end") func closed() async {
        // In its own process, because it counts descriptors.
        await #expect(processExitsWith: .success) {
            let tests = try RenamedSlotTests()
            let before = try openFiles()
            try tests.send()
            #expect(try openFiles() != before)
            tests.next.endReceiving(inUse: [])
            #expect(try nothingIsLeft(since: before))
        }
    }
}
