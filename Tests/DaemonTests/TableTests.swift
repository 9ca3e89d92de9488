import LiveUpdate
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// The bookkeeping of the orchestrator: connections and sessions.
@Suite struct TableTests {
    /// A table with limits of two descriptors for each user, and the descriptors that are closed at the end.
    private final class Fixture {
        let store: LiveUpdateDaemon.KeptDescriptors
        let work: WorkQueue
        let table: ConnectionTable
        private var peers: [FileDescriptor] = []

        init() throws {
            store = LiveUpdateDaemon.KeptDescriptors(try Closer(threads: 2))
            work = try WorkQueue()
            table = ConnectionTable(store, work, Quota(mostOfProcess: 128, mostOfUser: 2))
        }

        deinit {
            for peer in peers { try? closeDescriptor(peer) }
            for slot in store.slots(.client) { store.release(slot) }
            store.flush()
        }

        /// A connection of a user.
        func add(_ peer: Connection.Peer, of user: SessionOwner = 7) throws -> Connection {
            let ends = try MessageSocket.pair()
            peers.append(ends.1)
            let slot = try store.take(OwnedDescriptor(taking: ends.0), .client, KeepLabel(user: user))
            return try table.add(ends.0, slot, peer, ClientID(user: user, process: 1))
        }

        /// Whether a user may have one more descriptor.
        func hasRoom(for user: SessionOwner) -> Bool {
            table.quota.hasRoom(
                for: user, isUnlimited: false, Quota.Usage(process: 0, held: 0, closing: 0))
        }

        /// The client closes its end of the last connection.
        func closeLastPeer() { if let peer = peers.popLast() { try? closeDescriptor(peer) } }
    }

    @Test("A connection is found by its descriptor until it is removed, once") func finding() throws {
        let fixture = try Fixture()
        let (one, two) = (try fixture.add(.client(7)), try fixture.add(.client(7)))
        #expect(fixture.table[one.descriptor] === one && fixture.table[two.descriptor] === two)
        #expect(fixture.table.all.count == 2 && one.user == 7)
        #expect(fixture.table.remove(one) && !fixture.table.remove(one))
        #expect(!fixture.table.contains(one) && fixture.table.contains(two))
    }

    @Test("A connection counts against the user of its peer, and a session does not count here") func counting() throws
    {
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
        let session = try orchestrator.createSession("one", holder: SessionHolder(owner: 7))
        let held = try fixture.add(.session(session))
        #expect(fixture.hasRoom(for: 7) && held.session === session)
        fixture.table.change(held, to: .dead(7))
        #expect(!fixture.hasRoom(for: 7) && held.isDead)
        #expect(fixture.table.remove(other) && fixture.table.remove(held))
        #expect(fixture.hasRoom(for: 7))
    }

    @Test("A postponed connection has no events, and is served again once, if it is still there") func postponing()
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

    @Test("Many postponed connections are served again some at a time, the first ones first") func some() throws {
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
        let holders = [7, 8].map { SessionHolder(owner: $0, isDetached: true) }
        let sessions = try holders.map { try orchestrator.createSession("one", holder: $0) }
        let known = try orchestrator.status().sessions
        #expect(known.count == 2 && known.allSatisfy { table.detached($0) == nil })
        for session in sessions { table.addDetached(session) }
        for one in known { #expect(table.detached(one)?.holder.owner == one.holder.owner) }
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
}
