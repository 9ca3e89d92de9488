import Glibc
import Platform
import SystemPackage

/// Closes descriptors that clients sent, on threads of its own.
///
/// A client can make a close sleep for ever: FUSE and NFS ask their server at every close, a socket with SO_LINGER
/// waits for its peer, and the last close of a memory file frees gigabytes. A thread that serves requests or holds the
/// arena therefore closes no descriptor of a client, but for small memory files (``close(held:of:)``).
///
/// 1. ``close(_:of:)`` puts a descriptor into its user's queue and returns.
/// 2. A thread closes it. Each user has at most one thread of a lane at a time, so that a stuck close delays only that
///    user's next ones. One thread is for root alone.
/// 3. Descriptors whose close cannot sleep have a lane of their own: memory files of some megabytes, and own sockets
///    with nothing in their queues. Otherwise as many users with stuck closes as there are threads would stop the
///    closing for all users.
/// 4. ``stalled(of:)`` counts a user's descriptors while no close of them ends, for that user's limit.
///
/// The threads are made before the seccomp filter, which allows no new ones. They end when the closer is released and
/// the queues are empty.
final class Closer: Sendable {
    /// The queues of some users, and the threads that serve them.
    private final class Lane: Sendable {
        private let lock = Lock()
        // SAFETY: only used under the lock.
        nonisolated(unsafe) private var queue = ClosingQueue()
        nonisolated(unsafe) private var isEnding = false

        func add(_ descriptors: [FileDescriptor], of user: UInt32) {
            guard !descriptors.isEmpty else { return }
            lock.withLock {
                guard unsafe queue.add(descriptors, of: user, at: monotonicNanoseconds()) else { return }
                lock.wakeOne()
            }
        }

        /// The next descriptor to close; nil when the calling thread must end.
        func next() -> ClosingQueue.Job? {
            lock.withLock {
                lock.wait { unsafe isEnding || queue.hasNext }
                return unsafe queue.next()
            }
        }

        func finish(_ job: ClosingQueue.Job) { lock.withLock { unsafe queue.finish(job, at: monotonicNanoseconds()) } }

        func end() {
            lock.withLock {
                unsafe isEnding = true
                lock.wakeAll()
            }
        }

        func stalled(of user: UInt32) -> Int {
            lock.withLock { unsafe queue.stalled(of: user, at: monotonicNanoseconds()) }
        }

        func pending(of user: UInt32) -> Int { lock.withLock { unsafe queue.pending(of: user) } }

        var pending: Int { lock.withLock { unsafe queue.pending } }
    }

    private let root = Lane()
    /// For descriptors of other users whose close cannot sleep.
    private let prompt = Lane()
    /// For all other descriptors of other users.
    private let others = Lane()

    /// Starts the threads, which block all signals.
    ///
    /// - Parameters:
    ///   - threads: how many there are: one for root, one for closes that cannot sleep, and the rest, at least one, for
    ///     the other closes.
    ///   - closing: closes one descriptor: for tests.
    /// - Throws: EAGAIN when the system or the user may have no more threads, ENOMEM.
    init(
        threads: Int, closing: @escaping @Sendable (FileDescriptor) -> Void = Closer.closeGracefully
    ) throws(SystemCallError) {
        do throws(SystemCallError) {
            try Self.start(root, closing)
            try Self.start(prompt, closing)
            for _ in 2..<max(threads, 3) { try Self.start(others, closing) }
        } catch {
            // The threads that were started do not end by themselves, and an initializer that fails has no deinit.
            end()
            throw error
        }
    }

    deinit { end() }

    private func end() { for lane in lanes { lane.end() } }

    private var lanes: [Lane] { [root, prompt, others] }

    private static func start(
        _ lane: Lane, _ closing: @escaping @Sendable (FileDescriptor) -> Void
    ) throws(SystemCallError) {
        try startThread(stackSize: 128 << 10, blockingSignals: true) {
            while let job = lane.next() {
                closing(job.descriptor)
                lane.finish(job)
            }
        }
    }

    // MARK: Closing

    /// Closes a descriptor some time later. The closer owns the descriptor from now on. This call never waits for a
    /// file.
    func close(_ descriptor: FileDescriptor, of user: UInt32) { close([descriptor], of: user) }

    /// As ``close(_:of:)``, for a descriptor with an owner.
    func close(_ descriptor: consuming OwnedDescriptor, of user: UInt32) { close(descriptor.release(), of: user) }

    /// As ``close(_:of:)`` for many descriptors of one user.
    func close(_ descriptors: [FileDescriptor], of user: UInt32) {
        guard user != 0 else { return root.add(descriptors, of: user) }
        var (prompt, others): ([FileDescriptor], [FileDescriptor]) = ([], [])
        for descriptor in descriptors {
            let isPrompt = descriptor.isMemory(upTo: Self.mostPrompt)
            if isPrompt { prompt.append(descriptor) } else { others.append(descriptor) }
        }
        self.prompt.add(prompt, of: user)
        self.others.add(others, of: user)
    }

    /// As ``close(_:of:)``, for a file that was held. A small memory file is closed at once: its close cannot sleep, and
    /// takes less time than to wake a thread.
    func close(held file: FileDescriptor, of user: UInt32) {
        if file.isMemory(upTo: Self.mostAtOnce) { try? closeDescriptor(file) } else { close([file], of: user) }
    }

    /// The most bytes of memory that are freed on the calling thread. It takes some 30 microseconds.
    private static let mostAtOnce: UInt64 = 1 << 20
    /// The most bytes of memory that are freed in the lane of closes that cannot sleep. It takes some milliseconds.
    private static let mostPrompt: UInt64 = 16 << 20

    /// As ``close(_:of:)``, for a socket of luod's own, which no client has. Only messages that clients have sent on it
    /// can delay its close.
    func close(ownSocket: FileDescriptor, of user: UInt32) {
        let lane = user == 0 ? root : ownSocket.hasMessage ? others : prompt
        lane.add([ownSocket], of: user)
    }

    /// How many descriptors of a user wait or are being closed.
    func pending(of user: UInt32) -> Int { lanes.reduce(0) { $0 + $1.pending(of: user) } }

    /// How many descriptors of a user wait or are being closed, if none was closed for ``ClosingQueue/patience``;
    /// otherwise 0. They count against the user's limit. Closes that end soon do not, so that a client at its limit can
    /// release one file and preserve another.
    func stalled(of user: UInt32) -> Int { lanes.reduce(0) { $0 + $1.stalled(of: user) } }

    /// How many descriptors of all users wait or are being closed.
    var pending: Int { lanes.reduce(0) { $0 + $1.pending } }

    /// Closes a descriptor, a socket without waiting for its peer.
    ///
    /// SO_LINGER with a time makes the last close of a socket wait until the peer has acknowledged everything, for up
    /// to that time. Without SO_LINGER the kernel does the same in the background: bytes that were sent still go out,
    /// and TCP resets the connection only if bytes were received that no process has read, which is the same either
    /// way. No client waits for the result of this close, so that the background loses nothing. SO_LINGER with the time
    /// 0 does not wait: it resets the connection, which its client asked for, and stays as it is.
    static func closeGracefully(_ descriptor: FileDescriptor) {
        descriptor.stopLingering()
        // The descriptor is closed also when close(2) fails, and no client is left to be told.
        try? closeDescriptor(descriptor)
    }
}

extension FileDescriptor {
    /// Whether it is a memory file with at most so many bytes of memory.
    fileprivate func isMemory(upTo most: UInt64) -> Bool {
        guard (try? hasSeals()) == true, let status = try? FileStatus(cached: self) else { return false }
        return status.allocated <= most
    }
}

/// The order in which descriptors are closed: a queue for each user, and turns of the users. It does no I/O.
///
/// A user has no turn while one of the user's descriptors is being closed.
struct ClosingQueue {
    /// A descriptor to close.
    struct Job: Equatable, Sendable {
        var user: UInt32
        var descriptor: FileDescriptor
    }

    private struct UserQueue {
        var waiting = Fifo<FileDescriptor>()
        var isBusy = false
        /// When the last descriptor was closed, or the first one came, in nanoseconds.
        var lastProgress: UInt64 = 0
        var pending: Int { waiting.count + (isBusy ? 1 : 0) }
    }

    /// The users with pending descriptors: earlier users cost nothing.
    private var users: [UInt32: UserQueue] = [:]
    /// Users with something waiting and nothing being closed, in the order in which they are served.
    private var turns = Fifo<UInt32>()

    /// How many descriptors of all users wait or are being closed.
    private(set) var pending = 0

    /// Whether ``next()`` has a descriptor.
    var hasNext: Bool { turns.count > 0 }

    /// How many descriptors of a user wait or are being closed.
    func pending(of user: UInt32) -> Int { users[user]?.pending ?? 0 }

    /// As ``pending(of:)``, if no descriptor of the user was closed for ``patience``; otherwise 0.
    func stalled(of user: UInt32, at now: UInt64) -> Int {
        guard let queue = users[user], now > queue.lastProgress + Self.patience else { return 0 }
        return queue.pending
    }

    /// How long no close of a user may end until the user's descriptors count, in nanoseconds.
    static let patience: UInt64 = 50_000_000

    /// Appends descriptors to a user's queue.
    ///
    /// - Parameter now: the time, in nanoseconds.
    /// - Returns: whether the user gets a turn, so that a thread must be woken.
    mutating func add(_ descriptors: [FileDescriptor], of user: UInt32, at now: UInt64 = 0) -> Bool {
        guard !descriptors.isEmpty else { return false }
        let isNew = users[user] == nil
        if isNew { users[user] = UserQueue(lastProgress: now) }
        for descriptor in descriptors { users[user]?.waiting.append(descriptor) }
        pending += descriptors.count
        if isNew { turns.append(user) }
        return isNew
    }

    /// Takes the next descriptor, which is pending until ``finish(_:)``; nil when no user has a turn.
    mutating func next() -> Job? {
        guard let user = turns.popFirst(), let descriptor = users[user]?.waiting.popFirst() else { return nil }
        users[user]?.isBusy = true
        return Job(user: user, descriptor: descriptor)
    }

    /// Ends a job: its user gets the last of the turns if more descriptors wait.
    mutating func finish(_ job: Job, at now: UInt64 = 0) {
        users[job.user]?.isBusy = false
        users[job.user]?.lastProgress = now
        pending -= 1
        if pending(of: job.user) == 0 {
            users[job.user] = nil
        } else {
            turns.append(job.user)
        }
    }
}

/// A queue with operations of constant time on average.
struct Fifo<Element> {
    private var arriving: [Element] = []
    /// The oldest elements, the oldest one last.
    private var leaving: [Element] = []

    var count: Int { arriving.count + leaving.count }

    mutating func append(_ element: Element) { arriving.append(element) }

    mutating func popFirst() -> Element? {
        if leaving.isEmpty {
            // In place: neither array is made again.
            swap(&leaving, &arriving)
            leaving.reverse()
        }
        return leaving.popLast()
    }

    /// Takes the oldest element, and says whether it was the last one.
    mutating func take() -> (element: Element?, isLast: Bool) { (popFirst(), count == 0) }
}
