// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage

/// A client process, as the kernel identified it when it connected. Sessions belong to the client that opened them.
/// Sessions that a new orchestrator finds belong to their user, with the process 0.
struct ClientID: Hashable, Sendable {
    var user: SessionUser
    var process: CInt
}

/// Decides which connection is served next, and when new connections are accepted. It does no I/O.
///
/// 1. The loop notes the events of epoll(7): requests, ends, and connections that wait to be accepted.
/// 2. ``next()`` returns one piece of work. Time is shared by user, then by process, then by connection: the user with
///    the least used time is served next, and the process with the least used time among that user's processes.
/// 3. The loop does the work, measures it, and charges the time with ``charge(_:to:)``.
///
/// All ends of a user come before the user's requests. A session's name is thus free if the session was closed before
/// the request. Accepting shares time like a user of its own. Holding an accepted connection is work of its client.
struct RequestScheduler {
    /// A piece of work.
    enum Work: Equatable {
        /// Accept connections from the listener.
        case accept
        /// Hold an accepted connection.
        case admit(FileDescriptor)
        /// Close a connection that its client has closed.
        case end(FileDescriptor)
        /// Do a request, or send the rest of an answer.
        case serve(FileDescriptor)
    }

    private enum Party: Hashable {
        case acceptor
        case user(SessionUser)
    }

    /// The work of one user.
    private struct UserQueue {
        private var ended = Fifo<Item>()
        private var waiting: [CInt: Fifo<Item>] = [:]
        private var processes = FairShare<CInt>()
        private var count = 0

        /// Returns the next item, and whether it was the last one.
        mutating func take() -> (item: Item?, isLast: Bool) { (takeItem(), count == 0) }

        mutating func add(_ item: Item, of process: CInt, isEnd: Bool) {
            count += 1
            if isEnd { return ended.append(item) }
            waiting[process, default: Fifo()].append(item)
            processes.set(process, ready: true)
        }

        private mutating func takeItem() -> Item? {
            if let item = ended.popFirst() {
                count -= 1
                return item
            }
            guard let process = processes.first() else { return nil }
            let (item, isLast) = waiting[process, default: Fifo()].take()
            if item != nil { count -= 1 }
            if isLast {
                if waiting.count > RequestScheduler.mostEmptyQueues { waiting[process] = nil }
                processes.set(process, ready: false)
            }
            return item
        }

        mutating func charge(_ time: UInt64, to process: CInt) { processes.charge(process, time) }
    }

    /// An empty queue stays for later work while there are at most this many queues. Making a queue takes a
    /// microsecond.
    private static let mostEmptyQueues = 16

    private struct Item {
        var work: Work
        /// Distinguishes this item from a later one of the same descriptor.
        var number: UInt64
    }

    private var parties = FairShare<Party>()
    private var users: [SessionUser: UserQueue] = [:]
    /// The valid item of each descriptor. Earlier items of a descriptor are skipped.
    private var current: [FileDescriptor: (number: UInt64, isEnd: Bool)] = [:]
    private var lastNumber: UInt64 = 0
    private var mayAccept = false

    /// Accepting gets as much time as this many users.
    private static let weightOfAcceptor: UInt64 = 4

    /// Whether there is no work.
    var isIdle: Bool { current.isEmpty && !mayAccept }

    /// The number of connections with work.
    var count: Int { current.count }

    /// Whether several parties have work.
    var isShared: Bool { parties.readyCount > 1 }

    // MARK: Noting

    /// Notes whether connections may wait to be accepted.
    mutating func noteListener(mayAccept: Bool) {
        self.mayAccept = mayAccept
        parties.set(.acceptor, ready: mayAccept)
    }

    /// Notes an accepted connection.
    mutating func noteAccepted(_ descriptor: FileDescriptor, of client: ClientID) {
        add(.admit(descriptor), descriptor, client, isEnd: false)
    }

    /// Notes that a connection has a request, or room for the rest of an answer.
    mutating func noteRequest(on descriptor: FileDescriptor, of client: ClientID) {
        guard current[descriptor] == nil else { return }
        add(.serve(descriptor), descriptor, client, isEnd: false)
    }

    /// Notes that the client has closed a connection.
    mutating func noteEnd(of descriptor: FileDescriptor, of client: ClientID) {
        guard current[descriptor]?.isEnd != true else { return }
        add(.end(descriptor), descriptor, client, isEnd: true)
    }

    /// Forgets the work on a closed descriptor.
    mutating func forget(_ descriptor: FileDescriptor) { current[descriptor] = nil }

    private mutating func add(_ work: Work, _ descriptor: FileDescriptor, _ client: ClientID, isEnd: Bool) {
        lastNumber += 1
        current[descriptor] = (lastNumber, isEnd)
        let item = Item(work: work, number: lastNumber)
        users[client.user, default: UserQueue()].add(item, of: client.process, isEnd: isEnd)
        parties.set(.user(client.user), ready: true)
    }

    // MARK: Serving

    /// Takes the next piece of work; nil when there is none.
    mutating func next() -> Work? {
        while let party = parties.first() {
            switch party {
            case .acceptor:
                noteListener(mayAccept: false)
                return .accept
            case .user(let user):
                if let item = takeItem(of: user), let work = claim(item) { return work }
            }
        }
        return nil
    }

    /// Charges time, in nanoseconds, to a client's user and process.
    mutating func charge(_ time: UInt64, to client: ClientID) {
        parties.charge(.user(client.user), time)
        users[client.user]?.charge(time, to: client.process)
    }

    /// Charges time, in nanoseconds, to accepting.
    mutating func chargeAcceptor(_ time: UInt64) { parties.charge(.acceptor, time / Self.weightOfAcceptor) }

    /// - Returns: nil for an item that is no longer valid.
    private mutating func claim(_ item: Item) -> Work? {
        let descriptor: FileDescriptor
        switch item.work {
        case .accept: return .accept
        case .admit(let one), .end(let one), .serve(let one): descriptor = one
        }
        guard current[descriptor]?.number == item.number else { return nil }
        current[descriptor] = nil
        return item.work
    }

    private mutating func takeItem(of user: SessionUser) -> Item? {
        let (item, isLast) = users[user, default: UserQueue()].take()
        if isLast {
            if users.count > Self.mostEmptyQueues { users[user] = nil }
            parties.set(.user(user), ready: false)
        }
        return item
    }
}

/// Shares time among parties: the ready party with the least used time is first. It does no I/O.
///
/// A party that becomes ready again continues from the current use of the others, so that a party cannot save time by
/// waiting. A party that has used more than the others is first again when they have caught up, or when no other is
/// ready.
struct FairShare<Party: Hashable> {
    private struct Account {
        var used: UInt64
        var isReady: Bool
        /// The number of the party's valid entry in the heap.
        var order: UInt64
    }

    private struct Entry {
        var used: UInt64
        var order: UInt64
        var party: Party
        func isBefore(_ other: Entry) -> Bool { used == other.used ? order < other.order : used < other.used }
    }

    private var accounts: [Party: Account] = [:]
    /// The ready parties, and their earlier entries, as a binary heap.
    private var heap: [Entry] = []
    private(set) var readyCount = 0
    /// The used time of the party that was served last.
    private var present: UInt64 = 0
    private var lastOrder: UInt64 = 0

    /// The longest time that a party waits, in nanoseconds. A party can be ahead of the others by this time divided by
    /// the number of ready parties, because the others catch up one after the other.
    static var mostAhead: UInt64 { 100_000_000 }

    /// Notes whether a party is ready.
    mutating func set(_ party: Party, ready: Bool) {
        let account = accounts[party]
        guard ready != (account?.isReady ?? false) else { return }
        readyCount += ready ? 1 : -1
        if ready {
            place(party, Swift.max(account?.used ?? 0, present))
        } else {
            accounts[party]?.isReady = false
            tidy()
        }
    }

    /// The ready party with the least used time; nil when none is ready.
    mutating func first() -> Party? {
        while let entry = heap.first {
            if let account = accounts[entry.party], account.isReady, account.order == entry.order {
                present = Swift.max(present, entry.used)
                return entry.party
            }
            removeFirst()
        }
        return nil
    }

    /// Charges time to a party, ready or not.
    mutating func charge(_ party: Party, _ time: UInt64) {
        let account = accounts[party]
        let ahead = Self.mostAhead / UInt64(Swift.max(readyCount, 1))
        let used = Swift.min(Swift.max(account?.used ?? 0, present) + time, present + ahead)
        if account?.isReady == true {
            place(party, used)
        } else {
            accounts[party] = Account(used: used, isReady: false, order: 0)
        }
    }

    private mutating func place(_ party: Party, _ used: UInt64) {
        lastOrder += 1
        accounts[party] = Account(used: used, isReady: true, order: lastOrder)
        insert(Entry(used: used, order: lastOrder, party: party))
    }

    /// Drops the accounts that no longer matter.
    private mutating func tidy() {
        if readyCount == 0 {
            heap = []
            // Parties that come only once and were charged much would otherwise stay for ever.
            if accounts.count > 64 { accounts = [:] }
        }
        guard accounts.count > 2 * readyCount + 64 else { return }
        accounts = accounts.filter { $0.value.isReady || $0.value.used > present }
    }

    // MARK: The heap

    private mutating func insert(_ entry: Entry) {
        var index = heap.count
        heap.append(entry)
        while index > 0, entry.isBefore(heap[(index - 1) / 2]) {
            heap.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    private mutating func removeFirst() {
        guard let last = heap.popLast(), !heap.isEmpty else { return }
        heap[0] = last
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < heap.count && heap[child].isBefore(heap[least]) {
                least = child
            }
            guard least != index else { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}
