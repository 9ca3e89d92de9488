// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A slot in the arena is a number. In a new process this number can be another file of the program, which must neither
/// be handed out nor closed.
@Suite struct StaleSlotTests {
    private let handler = TestHandler()

    /// An orchestrator that holds descriptors as a production program does.
    private func boot(_ machine: Machine, _ opening: Orchestrator.Opening = .nextBoot) throws -> Orchestrator {
        let boot = Orchestrator(
            arena: try machine.openArena(), descriptors: InheritedDescriptors(), opening: opening)
        try boot.register(handler)
        try boot.open()
        return boot
    }

    /// Preserves a file, and gives the number of the held descriptor to another file.
    private func reuse(_ session: Session, _ boot: Orchestrator, _ other: MemoryFile) throws -> OwnedDescriptor {
        let file = try MemoryFile()
        try session.preserve(file.descriptor, token: 1)
        let slot = try #require(try boot.status().sessions.first?.files.first?.slot)
        let number = FileDescriptor(rawValue: CInt(slot.number))
        // dup2(2) does this in one step, so that no other thread gets the number.
        _ = try other.descriptor.duplicate(as: number)
        return OwnedDescriptor(taking: number)
    }

    private func expectUntouched(_ number: borrowing OwnedDescriptor, _ other: MemoryFile) throws {
        #expect(try FileStatus(of: number.borrowed).identity == other.identity)
    }

    @Test func whatWasHandedOver() throws {
        let (machine, other) = (try Machine(), try MemoryFile())
        let first = try boot(machine)
        let number = try reuse(try first.createSession("s"), first, other)
        try first.publish()
        let next = try boot(machine)
        let session = try next.retrieveSession("s")
        handler.change { hooks in
            hooks.retrieve = { file throws(LiveUpdateError) in
                #expect(file.descriptor == nil)
                throw LiveUpdateError(.badFileDescriptor, "lost")
            }
        }
        #expect(errno { try session.retrieve(token: 1) } == .badFileDescriptor)
        try session.close()
        try expectUntouched(number, other)
    }

    @Test(arguments: ["get", "unpreserve", "close"]) func whatWasPreserved(_ end: String) throws {
        let (machine, other) = (try Machine(), try MemoryFile())
        let first = try boot(machine)
        let number = try reuse(try first.createSession("s"), first, other)
        let again = try boot(machine, .sameBoot)
        let session = try #require(try again.openSessions.first)
        switch end {
        case "get":
            #expect(errno { try session.get(token: 1) } == .badFileDescriptor)
            try session.unpreserve(token: 1)
        case "unpreserve": try session.unpreserve(token: 1)
        default: try session.close()
        }
        try expectUntouched(number, other)
    }

    @Test("Lost files are known even if the journal has no room to record them") func withoutRoom() throws {
        let machine = try Machine(Arena.Options(initialSize: 4096))
        let boot = try machine.boot(.nextBoot, handler)
        let session = try boot.createSession("s")
        for token in 0..<120 as Range<UInt64> {
            let file = try MemoryFile(size: 0)
            try session.preserve(file.descriptor, token: token)
        }
        try leaveNoRoom(machine, boot)
        let before = try room(machine)
        #expect(before < 120 * 48, "so much it takes to say of each that it is lost")

        let after = try Machine(survivorOf: machine).boot(.nextBoot, handler)
        #expect(try room(machine) < 48, "what could be written was")
        #expect(try after.status().sessions[0].files.map(\.slot) == [DescriptorSlot](repeating: .lost, count: 120))
    }

    /// Fills the reserved room: a handler can use it by storing in its freezes without limit.
    private func leaveNoRoom(_ machine: Machine, _ boot: Orchestrator) throws {
        try machine.file.descriptor.addSeals(.grow)
        handler.change { hooks in
            hooks.freeze = { file throws(LiveUpdateError) in
                guard file.token == 0 else { return file.data }
                for size in [65536, 16384, 4096, 1024, 256, 64] {
                    while (try? file.storage.allocate(size)) != nil {}
                }
                return file.data
            }
        }
        // Each attempt records its beginning and its thaw.
        var last: UInt64 = 0
        while try room(machine) != last {
            last = try room(machine)
            _ = failure { try boot.publish() }
        }
    }

    /// The number of bytes of the journal behind its records.
    private func room(_ machine: Machine) throws -> UInt64 {
        let arena = try machine.openArena()
        let journal = try #require(arena.journal)
        let records = try arena.journalRecords().reduce(UInt64(64)) { $0 + 24 + (UInt64($1.payload.count) + 7) / 8 * 8 }
        return journal.length - records
    }
}
