// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Impossible state is refused when it is read, and causes no trap later. Possible state is never refused.
@Suite struct BootStateTests {
    private static let session = SessionState(
        id: SessionID(value: 5), name: "s", direction: .incoming, progress: .waiting)
    private static let file = FileState(
        id: FileID(value: 6), session: SessionID(value: 5), token: 1, compatible: "test-v1", slot: .lost,
        identity: FileIdentity(device: 1, inode: 2), data: 3, ranges: [], flbs: [], retrieved: .notTried)
    private static let flb = FLBState(
        id: FLBID(value: 1), kind: .incoming, compatible: "flb-v1", data: 9, ranges: [], count: 1, retrieved: .done)

    private func state(_ events: [Event]) throws -> BootState {
        var state = BootState()
        for event in events { try state.apply(event) }
        return state
    }

    @Test(arguments: ["", String(repeating: "n", count: 64), "a\0b"]) func names(_ name: String) {
        var (session, file, flb) = (Self.session, Self.file, Self.flb)
        (session.name, file.compatible, flb.compatible) = (SessionName(name), name, name)
        #expect(throws: ArenaError.self) { try state([.sessionAdded(session)]) }
        #expect(throws: ArenaError.self) { try state([.sessionAdded(Self.session), .fileAdded(file)]) }
        #expect(throws: ArenaError.self) { try state([.flbAdded(flb)]) }
    }

    @Test func onlyADiscardedFLBIsRemoved() throws {
        for kind in [FLBState.Kind.incoming, .outgoing, .discarded] {
            var flb = Self.flb
            (flb.kind, flb.count) = (kind, 0)
            let removed = try? state([.flbAdded(flb), .flbRemoved(flb.id)])
            #expect((removed != nil) == (kind == .discarded))
        }
    }

    @Test("A name has one outgoing FLB, until its last file is gone")
    func twoOfAName() throws {
        var (first, second, session, file) = (Self.flb, Self.flb, Self.session, Self.file)
        (first.kind, first.count) = (.outgoing, 0)
        second = first
        second.id = FLBID(value: 2)
        (session.direction, file.flbs) = (.outgoing, [first.id])
        let events: [Event] = [.flbAdded(first), .sessionAdded(session), .fileAdded(file)]
        #expect(throws: ArenaError.self) { try state(events + [.flbAdded(second)]) }
        let again = try state(events + [.sessionRemoved(session.id), .flbAdded(second)])
        #expect(again.flbs(.outgoing).map(\.id) == [second.id])
    }

    @Test func aFileCountsOnAnFLBOnce() {
        var file = Self.file
        file.flbs = [Self.flb.id, Self.flb.id]
        #expect(throws: ArenaError.self) {
            try state([.flbAdded(Self.flb), .sessionAdded(Self.session), .fileAdded(file)])
        }
    }

    @Test("An image with other links can finish an FLB before its last file, and a snapshot keeps that")
    func finishedTooEarly() throws {
        var (other, second) = (Self.session, Self.file)
        (other.id, other.name) = (SessionID(value: 7), "t")
        (second.id, second.session, second.identity.inode) = (FileID(value: 8), other.id, 3)
        var first = Self.file
        (first.flbs, second.flbs) = ([Self.flb.id], [Self.flb.id])
        let before = try state([
            .flbAdded(Self.flb), .sessionAdded(Self.session), .fileAdded(first), .sessionAdded(other),
            .fileAdded(second), .sessionRemoved(Self.session.id),
        ])
        let again = try state(before.snapshot)
        #expect(again.snapshot == before.snapshot)
        #expect(again.flbs[Self.flb.id]?.count == 0)
    }
}

/// The same rules for records in an arena.
@Suite struct DamagedJournalTests {
    private let machine: Machine
    private let handler = TestHandler("caf\u{E9}-v1")

    init() throws {
        machine = try Machine()
        let file = try MemoryFile()
        try machine.boot(.nextBoot, handler).createSession("s").preserve(file.descriptor, token: 1)
    }

    /// Writes an event that no boot writes.
    private func add(_ event: Event) throws {
        let arena = try machine.openArena()
        _ = try arena.journalRecords()
        try arena.claim(inUse: [])
        try arena.commit([event.record], acquiring: false) { [] }
    }

    private func expectRefused(_ reason: String) {
        let error = failure { try machine.boot(.sameBoot, handler) }
        #expect(error?.errno == .ioError)
        #expect(error?.reason.contains(reason) == true, "\(String(describing: error))")
    }

    @Test("Numbers that would run out while the boot goes on are refused") func numbers() throws {
        try add(.boot(updateNumber: 0, nextID: 1 << 62))
        expectRefused("the next number is \(UInt64(1) << 62)")
    }

    @Test("Names that Unicode calls equal are two; no handler knows the second") func equivalentNames() throws {
        let session = try #require(try machine.boot(.sameBoot, handler).openSessions.first)
        try add(
            .fileAdded(
                FileState(
                    id: FileID(value: 100), session: session.id, token: 2, compatible: "cafe\u{301}-v1", slot: .lost,
                    identity: FileIdentity(device: 0, inode: 0), data: 0, ranges: [], flbs: [], retrieved: .notTried)))
        expectRefused("no handler knows")
    }
}

/// The same rules for a tree.
@Suite struct DamagedTreeTests {
    @Test("A tree in which files name the same ranges again and again is refused before they are read")
    func ranges() throws {
        let machine = try Machine()
        let handler = TestHandler { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store([1]) }
        }
        let boot = try machine.boot(.nextBoot, handler)
        let session = try boot.createSession("s")
        for token in UInt64(0)..<100 {
            let file = try MemoryFile(size: 0)
            try session.preserve(file.descriptor, token: token)
        }
        try boot.publish()
        let arena = try machine.openArena()
        let tree = try #require(arena.outgoingTree)
        let read = try LuoTreeReader(arena: arena, range: tree).read()

        // Each file names the ranges of all files. The slot of a file is found by its identity, which is before both
        // words.
        let bytes = try machine.file.bytes()
        let first = try #require(read.sessions[0].files.first)
        let identity = nativeBytes(first.identity.device) + nativeBytes(first.identity.inode)
        let place = try #require(
            (Int(tree.offset)..<Int(tree.end) - 16).first { [UInt8](bytes[$0..<$0 + 16]) == identity })
        let ranges = integer(UInt64.self, bytes, at: place + 16)
        for file in 0..<100 {
            try machine.file.write(word: ranges, at: UInt64(place + 112 * file + 16))
            try machine.file.write(word: 100 as UInt64, at: UInt64(place + 112 * file + 24))
        }
        do {
            _ = try LuoTreeReader(arena: arena, range: tree).read()
            Issue.record("it was read")
        } catch {
            #expect(error.reason.contains("ranges do not fit into the tree"), "\(error)")
        }
    }
}
