// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// The parts of an orchestrator on sockets of this process, without a loop.
private final class Rooms {
    let store: DescriptorMirror
    let orchestrator: Orchestrator
    let work: WorkQueue
    let connections: ConnectionTable
    let sessions = SessionTable()
    let keeper: KeeperLink
    let acceptor: Acceptor
    let replies: ReplySender
    let ledger: ReplyLedger
    let longWork: LongWorkRunner
    let closer: ConnectionCloser
    let resumption: Resumption
    private var clients: [FileDescriptor] = []

    /// Makes the parts. `link` is the link to the keeper. `memory` is the memory for notes about running requests.
    init(
        _ link: ControlLink? = nil, _ quota: Quota = Quota(mostOfProcess: 256, mostOfUser: 64),
        memory: ControlMemory? = nil
    ) throws {
        let log = Log("test")
        store = DescriptorMirror(try Closer(threads: 2))
        orchestrator = Orchestrator(arena: try Arena.make(), descriptors: store)
        try orchestrator.register(MemfdHandler())
        try orchestrator.open()
        work = try WorkQueue()
        connections = ConnectionTable(store, work, quota)
        keeper = KeeperLink(link, store, work, nil, silence: 1000, log)
        replies = ReplySender(store, connections, work)
        acceptor = Acceptor(store, orchestrator, connections, work, log)
        ledger = ReplyLedger(memory, orchestrator, store, sessions, predecessorsEnd: "")
        let updates = UpdateRunner(
            orchestrator, connections, acceptor, keeper, replies, Subscribers(connections, orchestrator), log)
        longWork = LongWorkRunner(
            try WorkerPool(threads: 2), store, orchestrator, connections, work, replies, ledger, updates, log)
        closer = ConnectionCloser(
            store, orchestrator, connections, sessions, replies, longWork, keeper, log, endsUnused: false)
        resumption = Resumption(store, orchestrator, connections, sessions, closer)
    }

    deinit {
        for client in clients { try? closeDescriptor(client) }
        for kind in [DescriptorKind.client, .session, .file, .listener] {
            for slot in store.slots(kind) { store.release(slot) }
        }
        store.flush(atMost: .max)
    }

    /// Luod's end of a new pair of sockets, in a slot.
    func hold(_ kind: DescriptorKind, of user: SessionUser) throws -> (slot: DescriptorSlot, client: FileDescriptor) {
        let ends = try MessageSocket.pair()
        clients.append(ends.1)
        return (try store.take(OwnedDescriptor(taking: ends.0), kind, DescriptorLabel(user: user)), ends.1)
    }

    /// A connection of a user's client.
    func connect(_ user: SessionUser = 7) throws -> (connection: Connection, client: FileDescriptor) {
        let (slot, client) = try hold(.client, of: user)
        let descriptor = try #require(store.descriptor(in: slot))
        let id = ClientID(user: user, process: 1)
        return (try connections.add(descriptor, slot, .client(user), id), client)
    }

    /// Listens for clients, and stores the listener in a slot.
    func listen(at path: String) throws -> DescriptorSlot {
        let listener = try MessageSocket.listen(at: path, mode: .ownerReadWrite)
        try listener.borrowed.setNonBlocking()
        return try store.take(listener, .listener)
    }

    /// A session that a client holds.
    func openSession(_ name: SessionName, isDetached: Bool = false) throws -> (session: Session, connection: Connection)
    {
        let (slot, _) = try hold(.session, of: 7)
        let holder = SessionHolder(user: 7, slot: slot, isDetached: isDetached)
        let session = try orchestrator.createSession(name, holder: holder)
        let descriptor = try #require(store.descriptor(in: slot))
        return (session, try connections.add(descriptor, slot, .session(session), ClientID(user: 7, process: 1)))
    }
}

/// Replies, and the closing of connections.
@Suite struct RoomTests {
    @Test("A request stays in the queue until its reply was sent, also while the client does not read") func unsent()
        throws
    {
        let rooms = try Rooms()
        let (connection, client) = try rooms.connect()
        try client.send([1])
        var sent = 0
        while connection.unsent == nil, sent < 1_000_000 {
            // Each reply removes one request from the queue.
            try client.send([2])
            rooms.replies.send(Reply(0, body: [UInt8](repeating: 7, count: 512)), to: connection)
            sent += 1
        }
        #expect(connection.unsent?.isDelayed == true && connection.descriptor.isReadable(within: 0))
        #expect(try rooms.work.wait(0).isEmpty, "there is no room to write")
        while (try? client.receive(.now)) != nil {}
        #expect(try rooms.work.wait(0).map(\.isWritable) == [true])
        rooms.replies.sendRest(to: connection)
        #expect(connection.unsent == nil && client.isReadable(within: 0))
        // Two more requests came than replies: the first request, and the one with the late reply.
        #expect(try connection.descriptor.receive(.now)?.bytes == [2])
        #expect(throws: SystemCallError.self) { try connection.descriptor.receive(.now) }
    }

    @Test("A connection that waits is read again with its reply") func waiting() throws {
        let rooms = try Rooms()
        let (connection, client) = try rooms.connect()
        try client.send([1])
        rooms.replies.wait(connection)
        #expect(try connection.isWaiting && rooms.work.wait(0).isEmpty)
        try client.send([2])
        rooms.replies.send(Reply(0), to: connection)
        #expect(!connection.isWaiting)
        #expect(try rooms.work.wait(0).map(\.isReadable) == [true])
        #expect(try connection.descriptor.receive(.now)?.bytes == [2])
    }

    @Test("A reply to a client that has gone releases the file of the reply") func gone() throws {
        let rooms = try Rooms()
        let (connection, _) = try rooms.connect()
        rooms.closer.close(connection)
        #expect(!rooms.connections.contains(connection) && rooms.store.entry(connection.slot) == nil)
        let file = try makeMemoryFile(named: "file", size: 4096)
        let kept = try rooms.store.keep(file.borrowed)
        var reply = Reply(0)
        reply.kept = kept
        rooms.replies.send(reply, to: connection)
        #expect(rooms.store.entry(kept) == nil)
    }

    @Test("A request that runs on a thread is noted until the thread is done, beside the next requests") func ledger()
        throws
    {
        let file = try ControlMemory.make()
        let rooms = try Rooms(memory: try ControlMemory(file.borrowed))
        let keeper = try ControlMemory(file.borrowed)
        let slots = (DescriptorSlot(7), DescriptorSlot(8))
        let (long, short): ([UInt8], [UInt8]) = ([UInt8](repeating: 1, count: 40), [UInt8](repeating: 2, count: 40))
        rooms.ledger.begin(long, on: slots.0)
        let place = rooms.ledger.beginLong()
        rooms.ledger.end(long)
        rooms.ledger.begin(short, on: slots.1)
        let keys = [RequestKey(slot: 8, short), RequestKey(slot: 7, long)]
        #expect(keeper.takeRequests() == keys)
        rooms.ledger.begin(long, on: slots.0)
        let another = rooms.ledger.beginLong()
        #expect(place != nil && another != nil && another != place)
        rooms.ledger.end(long)
        rooms.ledger.endLong(place)
        rooms.ledger.endLong(another)
        #expect(keeper.takeRequests().isEmpty)
    }

    /// A client whose request a thread does until it is cancelled, and an update that has asked for that.
    private func interrupted() throws -> (
        rooms: Rooms, connection: Connection, client: FileDescriptor, root: Connection
    ) {
        let rooms = try Rooms()
        try rooms.longWork.open()
        let (connection, client) = try rooms.connect()
        let (root, _) = try rooms.connect(0)
        try beginEndless(rooms, connection, client)
        #expect(connection.isWorking && connection.isWaiting)
        #expect(rooms.longWork.mustWait(update: root) && rooms.longWork.mustWait(update: root))
        return (rooms, connection, client, root)
    }

    private func beginEndless(_ rooms: Rooms, _ connection: Connection, _ client: FileDescriptor) throws {
        let request = Request(.preserve, body: FileCall(token: 1).body, tag: 7)
        try client.send(request.bytes)
        let file = try MemoryFile(size: 1 << 20)
        try file.write([1], at: 4096)
        rooms.longWork.begin(request, on: connection) { () throws(LiveUpdateError) in
            do throws(SystemCallError) {
                while true { _ = try dataExtents(of: file.descriptor, size: 1 << 20) }
            } catch {
                throw LiveUpdateError(error, "the search")
            }
        }
    }

    /// Waits until the thread is done, and takes its result.
    private func finish(_ rooms: Rooms) throws {
        for _ in 0..<600 where !rooms.longWork.isIdle {
            _ = try rooms.work.wait(100)
            rooms.longWork.finish { _ in }
        }
        #expect(rooms.longWork.isIdle)
    }

    @Test("An update interrupts a request on a thread, which stays in its queue to be served again")
    func staysInQueue() throws {
        let (rooms, connection, client, root) = try interrupted()
        try finish(rooms)
        #expect(!connection.isWorking && !connection.isWaiting && connection.isPostponed)
        #expect(connection.descriptor.hasMessage && !client.hasMessage, "it is not answered")
        #expect(!rooms.longWork.mustWait(update: root))
    }

    @Test("A request that is interrupted after the end of its client is not done again") func interruptedAndEnded()
        throws
    {
        let (rooms, connection, _, _) = try interrupted()
        #expect(rooms.longWork.postponesEnd(connection))
        try finish(rooms)
        #expect(!connection.isWorking && !connection.descriptor.hasMessage)
        #expect(rooms.work.next() == .end(connection.descriptor))
    }

    @Test("The queue of a closed connection is emptied some messages at a time") func drains() throws {
        let rooms = try Rooms()
        let (connection, client) = try rooms.connect()
        for number: UInt8 in 0..<5 { try client.send([number]) }
        #expect(!rooms.store.drain(connection.descriptor, of: 7, atMost: 3))
        #expect(try connection.descriptor.receive(.peeking)?.bytes == [3])
        #expect(rooms.store.drain(connection.descriptor, of: 7, atMost: 3))
        #expect(!connection.descriptor.hasMessage)
    }

    @Test("A session ends with its connection, and a detached session waits for the next attach") func ends() throws {
        let rooms = try Rooms()
        let ending = try rooms.openSession("ends")
        let detached = try rooms.openSession("stays", isDetached: true)
        rooms.closer.close(ending.connection)
        rooms.closer.close(detached.connection, mayTakeLong: true)
        let left = try rooms.orchestrator.status().sessions
        #expect(left.map(\.name) == ["stays"] && left.first?.holder.slot == .lost)
        #expect(rooms.sessions.detached(try #require(left.first)) === detached.session)
        #expect(rooms.store.slots(.session).isEmpty)
    }

    @Test("Only connections of clients that have gone are closed for another open") func unclaimed() throws {
        let rooms = try Rooms()
        let (connection, _) = try rooms.connect()
        let session = try rooms.openSession("one")
        let isInTheWay: (Connection) -> Bool = { $0.session?.name == "one" }
        #expect(!rooms.closer.closeUnclaimed(connection, where: isInTheWay))
        session.connection.descriptor.shutDown()
        #expect(rooms.closer.closeUnclaimed(connection, where: isInTheWay))
        #expect(!rooms.connections.contains(session.connection) && rooms.connections.contains(connection))
    }

    @Test("An orchestrator finds sessions and clients again, and releases files that nothing names") func resumption()
        throws
    {
        let rooms = try Rooms()
        let (client, _) = try rooms.hold(.client, of: 7)
        let (slot, _) = try rooms.hold(.session, of: 7)
        let (lost, _) = try rooms.hold(.session, of: 8)
        let session = try rooms.orchestrator.createSession("held", holder: SessionHolder(user: 7, slot: slot))
        let waiting = SessionHolder(user: 7, slot: DescriptorSlot(1000), isDetached: true)
        let detached = try rooms.orchestrator.createSession("waits", holder: waiting)
        _ = try rooms.orchestrator.createSession("ends", holder: SessionHolder(user: 7, slot: DescriptorSlot(1001)))
        let file = try makeMemoryFile(named: "one", size: 4096)
        let orphan = try makeMemoryFile(named: "two", size: 4096)
        try session.preserve(file.borrowed, token: 1)
        let unnamed = try rooms.store.keep(orphan.borrowed)

        try rooms.resumption.resume()
        let found = Dictionary(uniqueKeysWithValues: rooms.connections.all.map { ($0.slot, $0) })
        #expect(found.count == 3 && found[slot]?.session?.number == session.number && found[lost]?.isDead == true)
        #expect(found[client]?.session == nil && found[client]?.isDead == false)
        let status = try rooms.orchestrator.status().sessions
        #expect(Set(status.map(\.name)) == ["held", "waits"])
        let known = try #require(status.first { $0.name == "waits" })
        #expect(rooms.sessions.detached(known)?.number == detached.number)

        #expect(rooms.resumption.mayHaveOrphans)
        rooms.resumption.releaseOrphans()
        #expect(!rooms.resumption.mayHaveOrphans && rooms.store.entry(unnamed) == nil)
        #expect(rooms.store.slots(.file).count == 1)
    }

    @Test("Without a keeper nothing is sent, and the end of a keeper is noticed") func keeper() throws {
        let alone = try Rooms()
        #expect(!alone.keeper.isThere && alone.keeper.process == nil && alone.keeper.receive() == nil)
        #expect(throws: SystemCallError("sendmsg", .socketNotConnected)) { try alone.keeper.send(.update(.ready)) }
        guard case .nothing = alone.keeper.next() else { throw SystemCallError("recvmsg", .ioError) }

        let ends = try MessageSocket.pair()
        let other = ControlLink(OwnedDescriptor(taking: ends.1))
        let rooms = try Rooms(ControlLink(OwnedDescriptor(taking: ends.0)))
        try rooms.keeper.open()
        #expect(rooms.keeper.isThere && rooms.keeper.isLink(ends.0))
        try rooms.keeper.send(.update(.ready))
        #expect(try other.receive(.now)?.message == .update(.ready))
        try other.send(.closing(5, 70))
        guard case .message(let received) = rooms.keeper.next() else { throw SystemCallError("recvmsg", .ioError) }
        rooms.keeper.note(received)
        #expect(rooms.store.closingInKeeper(of: 5) == 70)
        guard case .nothing = rooms.keeper.next() else { throw SystemCallError("recvmsg", .ioError) }
        other.shutDown()
        guard case .end = rooms.keeper.next() else { throw SystemCallError("recvmsg", .ioError) }
        rooms.keeper.giveUp()
        #expect(!rooms.keeper.isThere && rooms.store.closingInKeeper(of: 5) == 0)
    }

    @Test("Only root and luod's own user control luod, and during a refusal only they are served, with three calls")
    func rights() throws {
        let refusal = Refusal(StartFailure(.data, "/state/arena: version"), at: 0)
        func errno(_ call: Call, _ user: SessionUser, _ refusal: Refusal?) -> Errno? {
            do throws(LiveUpdateError) {
                try DeviceCalls.check(call, by: user, ownUser: 5, refusal)
                return nil
            } catch {
                return error.errno
            }
        }
        let open: [Call] = [.createSession, .retrieveSession, .attachSession, .removeSession, .status, .ping]
        let privileged: [Call] = [.update, .load, .reload, .stop]
        for call in open + privileged {
            let isServed = [.status, .reload, .stop].contains(call)
            #expect([0, 5].allSatisfy { errno(call, $0, nil) == nil })
            #expect(errno(call, 7, nil) == (privileged.contains(call) ? .notPermitted : nil))
            #expect([0, 5].allSatisfy { errno(call, $0, refusal) == (isServed ? nil : .ioError) })
            #expect(errno(call, 7, refusal) == .ioError)
        }
    }

    // MARK: Accepting

    @Test("A connection is accepted first, and held in its client's turn") func accepting() throws {
        let rooms = try Rooms()
        let directory = try TemporaryDirectory()
        let path = directory.path + "/listener"
        _ = try rooms.listen(at: path)
        rooms.acceptor.accept()
        #expect(rooms.acceptor.count == 0)
        let client = try MessageSocket.connect(to: path)
        rooms.acceptor.accept()
        #expect(rooms.acceptor.count == 1 && rooms.connections.all.isEmpty)
        guard case .admit(let descriptor) = rooms.work.next() else { throw SystemCallError("accept4", .ioError) }
        #expect(rooms.acceptor.admit(descriptor)?.user == geteuid())
        #expect(rooms.acceptor.count == 0 && rooms.connections[descriptor]?.user == geteuid())
        #expect(rooms.acceptor.admit(descriptor) == nil, "once")
        try client.borrowed.send([1])
        #expect(try rooms.work.wait(0).map(\.descriptor) == [descriptor])
    }

    @Test("Without room nothing is accepted until the acceptor resumes") func resting() throws {
        let rooms = try Rooms(nil, Quota(mostOfProcess: 4, mostOfUser: 4))
        let directory = try TemporaryDirectory()
        let path = directory.path + "/listener"
        let listener = try rooms.listen(at: path)
        try rooms.work.watch(try #require(rooms.store.descriptor(in: listener)), for: .reading)
        let others = try (0..<4).map { _ in try rooms.hold(.client, of: 0).slot }
        let client = try MessageSocket.connect(to: path)
        #expect(try rooms.work.wait(0).count == 1 && rooms.acceptor.patience == nil)
        rooms.acceptor.accept()
        #expect(try rooms.acceptor.count == 0 && rooms.acceptor.patience != nil && rooms.work.wait(0).isEmpty)
        rooms.store.release(now: others)
        // Descriptors that wait for their close count, too.
        while rooms.store.count > 1 { usleep(1000) }
        rooms.acceptor.accept()
        #expect(rooms.acceptor.count == 0)
        rooms.acceptor.resume()
        #expect(try rooms.acceptor.patience == nil && rooms.work.wait(0).count == 1)
        rooms.acceptor.accept()
        #expect(rooms.acceptor.count == 1)
        rooms.acceptor.admitAll()
        #expect(rooms.acceptor.count == 0 && rooms.connections.all.count == 1)
        withExtendedLifetime(client) {}
    }
}
