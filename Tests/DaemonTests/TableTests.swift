// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// The bookkeeping of the orchestrator: connections and sessions.
@Suite struct TableTests {
    /// A table in which each user may have two descriptors. It closes its descriptors at the end.
    private final class Fixture {
        let store: DescriptorMirror
        let work: WorkQueue
        let table: ConnectionTable
        private var peers: [FileDescriptor] = []

        init() throws {
            store = DescriptorMirror(try Closer(threads: 2))
            work = try WorkQueue()
            table = ConnectionTable(store, work, Quota(mostOfProcess: 128, mostOfUser: 2))
        }

        deinit {
            for peer in peers { try? closeDescriptor(peer) }
            for slot in store.slots(.client) { store.release(slot) }
            store.flush()
        }

        /// Adds a connection of a user.
        func add(_ peer: Connection.Peer, of user: SessionUser = 7) throws -> Connection {
            let ends = try MessageSocket.pair()
            peers.append(ends.1)
            let slot = try store.take(OwnedDescriptor(taking: ends.0), .client, DescriptorLabel(user: user))
            return try table.add(ends.0, slot, peer, ClientID(user: user, process: 1))
        }

        /// Whether a user may have one more descriptor.
        func hasRoom(for user: SessionUser) -> Bool {
            table.quota.hasRoom(
                for: user, isUnlimited: false, Quota.Usage(process: 0, held: 0, closing: 0))
        }

        /// Closes the client's end of the last connection.
        func closeLastPeer() { if let peer = peers.popLast() { try? closeDescriptor(peer) } }
    }

    @Test("A connection is found by its descriptor until it is removed, which happens once") func finding() throws {
        let fixture = try Fixture()
        let (one, two) = (try fixture.add(.client(7)), try fixture.add(.client(7)))
        #expect(fixture.table[one.descriptor] === one && fixture.table[two.descriptor] === two)
        #expect(fixture.table.all.count == 2 && one.user == 7)
        #expect(fixture.table.remove(one) && !fixture.table.remove(one))
        #expect(!fixture.table.contains(one) && fixture.table.contains(two))
    }

    @Test("A connection counts against the user of its peer; a session does not count here") func counting() throws {
        let fixture = try Fixture()
        let connection = try fixture.add(.client(7))
        fixture.table.countAccepted(of: 7)
        #expect(!fixture.hasRoom(for: 7) && fixture.hasRoom(for: 8))
        fixture.table.discountAccepted(of: 7)
        #expect(fixture.hasRoom(for: 7))
        let other = try fixture.add(.device(7))
        #expect(!fixture.hasRoom(for: 7))
        fixture.table.change(connection, to: .client(8))
        #expect(fixture.hasRoom(for: 7))
        let orchestrator = try Machine().boot()
        try orchestrator.open()
        let session = try orchestrator.createSession("one", holder: SessionHolder(user: 7))
        let held = try fixture.add(.session(session))
        #expect(fixture.hasRoom(for: 7) && held.session === session)
        fixture.table.change(held, to: .dead(7))
        #expect(!fixture.hasRoom(for: 7) && held.isDead)
        #expect(fixture.table.remove(other) && fixture.table.remove(held))
        #expect(fixture.hasRoom(for: 7))
    }

    @Test("A postponed connection has no events, and is served again once, if it still exists") func postponing()
        throws
    {
        let fixture = try Fixture()
        let (gone, postponed) = (try fixture.add(.client(7)), try fixture.add(.client(7)))
        #expect(!fixture.table.hasPostponed)
        fixture.closeLastPeer()
        #expect(try fixture.work.wait(0).map(\.descriptor) == [postponed.descriptor])
        for connection in [gone, postponed, postponed] { fixture.table.postpone(connection) }
        #expect(fixture.table.hasPostponed && postponed.isPostponed)
        #expect(fixture.table.remove(gone))
        #expect(fixture.table.takePostponed().map(\.slot) == [postponed.slot])
        #expect(!fixture.table.hasPostponed && !postponed.isPostponed)
    }

    @Test("Postponed connections are served again some at a time, the oldest first") func some() throws {
        let fixture = try Fixture()
        let all = try (0..<300).map { _ in try fixture.add(.client(7)) }
        for connection in all { fixture.table.postpone(connection) }
        let first = fixture.table.takePostponed()
        #expect(first.map(\.slot) == all.prefix(first.count).map(\.slot) && first.count < 300)
        // A connection that is postponed again comes after the others.
        fixture.table.postpone(all[0])
        #expect(fixture.table.takePostponed().map(\.slot) == (all.dropFirst(first.count) + [all[0]]).map(\.slot))
    }

    @Test("A detached session is found by name and user until a client holds it") func detached() throws {
        let orchestrator = try Machine().boot()
        try orchestrator.open()
        let table = SessionTable()
        let holders = [7, 8].map { SessionHolder(user: $0, isDetached: true) }
        let sessions = try holders.map { try orchestrator.createSession("one", holder: $0) }
        let known = try orchestrator.status().sessions
        #expect(known.count == 2 && known.allSatisfy { table.detached($0) == nil })
        for session in sessions { table.addDetached(session) }
        for one in known { #expect(table.detached(one)?.holder.user == one.holder.user) }
        table.removeDetached(sessions[0])
        #expect(known.count { table.detached($0) != nil } == 1)
    }

    @Test("A descriptor that was not sent is taken once, for its own connection") func unsent() {
        let table = SessionTable()
        table.addUnsent(FileDescriptor(rawValue: 1000), for: DescriptorSlot(3))
        #expect(table.takeUnsent(for: DescriptorSlot(4)) == nil)
        #expect(table.takeUnsent(for: DescriptorSlot(3))?.rawValue == 1000)
        #expect(table.takeUnsent(for: DescriptorSlot(3)) == nil)
    }

    @Test(
        "Only a file that came with the kernel has a new identity",
        arguments: [
            (.cameWithKernel, true), ([], false),
        ] as [(DescriptorLabel.Traits, Bool)])
    func newIdentity(_ traits: DescriptorLabel.Traits, isNew: Bool) throws {
        let store = DescriptorMirror(try Closer(threads: 1))
        let file = try MemoryFile()
        let slot = try store.take(
            try file.descriptor.duplicated(), .file, DescriptorLabel(user: 7, traits: traits))
        #expect(store.newIdentity(of: slot) == (isNew ? file.identity : nil))
        #expect(store.newIdentity(of: DescriptorSlot(999)) == nil)
        store.release(slot)
        store.flush()
        #expect(store.newIdentity(of: slot) == nil)
    }

    @Test(
        "The log says on which medium a new state begins",
        arguments: [
            (true, .other(0xEF53), .dax, "on DAX"), (false, .other(0xEF53), .disk, "on a disk"),
            (false, .tmpfs, .memory, "in memory: it ends with the kernel"),
            (false, .other(0x8584_58F6), .memory, "in memory"),
        ] as [(Bool, FileSystemKind, StateMedium, String)])
    func medium(isDax: Bool, kind: FileSystemKind, medium: StateMedium, words: String) {
        #expect(StateMedium(isDax: isDax, kind) == medium)
        #expect(medium.line("/state").contains("/state") && medium.line("/state").contains(words))
    }

    // MARK: Slots

    private func held(
        _ number: CInt, _ kind: DescriptorKind = .file, user: SessionUser = 7, cookie: UInt64 = 0,
        memory: MemoryUse? = nil
    ) -> HeldDescriptor {
        HeldDescriptor(
            descriptor: FileDescriptor(rawValue: number), kind: kind,
            label: DescriptorLabel(cookie: cookie, user: user),
            memory: memory)
    }

    @Test("A slot is allocated once, also after the slots of another orchestrator") func allocation() {
        var table = SlotTable()
        #expect([table.allocate(), table.allocate()] == [DescriptorSlot(1), DescriptorSlot(2)])
        table.begin(at: 10)
        table.begin(at: 5)
        #expect(table.allocate() == DescriptorSlot(10) && table.next == 11)
    }

    @Test("A slot is found by number, kind and cookie until it is removed") func slots() {
        var table = SlotTable()
        let (file, session) = (table.allocate(), table.allocate())
        table.add(held(100), file)
        #expect(!table.holdsOnlyState)
        table.add(held(101, .session, cookie: 9), session)
        #expect(table.count == 2 && table.all.count == 2 && table[file]?.descriptor.rawValue == 100)
        #expect(table.slots(.file) == [file] && table.slots(.session) == [session] && table.slots(.client).isEmpty)
        #expect(table.slot(withCookie: 9) == session && table.slot(withCookie: 8) == nil)
        #expect(table.relabel(session, DescriptorLabel(cookie: 9, user: 8))?.label.user == 8)
        #expect(table.relabel(DescriptorSlot(99), DescriptorLabel()) == nil)
        #expect(table.replace(file, with: held(102))?.descriptor.rawValue == 100 && table.slots(.file) == [file])
        #expect(table.remove(session)?.descriptor.rawValue == 101 && table.remove(session) == nil)
        #expect(table.slot(withCookie: 9) == nil && table.slots(.session).isEmpty && table.count == 1)
        table.add(held(103, .arena), session)
        _ = table.remove(file)
        #expect(table.holdsOnlyState)
    }

    @Test("A released slot is held until the end of the request, and removed once") func released() {
        var table = SlotTable()
        let (one, two) = (table.allocate(), table.allocate())
        table.add(held(100), one)
        table.add(held(101), two)
        for slot in [one, one, DescriptorSlot(99)] { table.release(slot) }
        #expect(table.count == 2)
        #expect(table.takeReleased(atMost: 1).isEmpty && table.hasReleased, "the last one is in no slot")
        #expect(table.takeReleased(atMost: 9).map(\.slot) == [one] && !table.hasReleased)
        #expect(table[one] == nil && table[two] != nil)
    }

    @Test("The memory of a user's files goes with their slots, and each file is read again in turn") func memory() {
        var table = SlotTable()
        let file = FileIdentity(device: 1, inode: 2)
        let slots = (0..<5).map { _ in table.allocate() }
        for slot in slots { table.add(held(100, memory: MemoryUse(file, .base, 4096)), slot) }
        #expect(table.memoryOfUsers == [7: [.base: 4096]])
        let read = [table.takeUnread(atMost: 3), table.takeUnread(atMost: 3)].map { $0.map(\.slot) }
        #expect(read.map(\.count) == [3, 2] && Set(read.joined()) == Set(slots))
        table.noteMemory(MemoryUse(file, .base, 8192), in: slots[0])
        table.noteMemory(MemoryUse(file, .base, 1), in: DescriptorSlot(99))
        #expect(table.memoryOfUsers == [7: [.base: 8192]])
        #expect(table.memory(of: 7, with: MemoryUse(FileIdentity(device: 1, inode: 3), .base, 1)) == 8193)
        for slot in slots { _ = table.remove(slot) }
        #expect(table.memoryOfUsers.isEmpty)
    }
}
