// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// Closes descriptors that clients sent, on threads of its own. The orchestrator and the keeper each have one, for
/// their own copies.
///
/// A client can make a close sleep for ever: FUSE and NFS ask their server at every close, a socket with SO_LINGER
/// waits for its peer, and the last close of a memory file frees gigabytes. A thread that serves requests or holds the
/// arena therefore never closes a client's descriptor, except for small memory files (``close(held:of:)``).
///
/// 1. ``close(_:of:)`` puts a descriptor into its user's queue and returns.
/// 2. A thread closes the descriptor. Each user has at most one thread of a lane at a time, so a stuck close delays
///    only the later closes of the same user. One thread is for root alone.
/// 3. A lane of its own takes the descriptors that cannot sleep in close: memory files of a few megabytes, and luod's
///    own sockets with empty queues. Without this lane, stuck closes of as many users as there are threads would stop
///    the closing for all users.
/// 4. ``stalled(of:)`` counts a user's pending descriptors while none of the user's closes ends. They count against the
///    user's limit.
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
    /// Closes that cannot sleep, for all users except root.
    private let prompt = Lane()
    /// All other closes, for all users except root.
    private let others = Lane()

    /// Starts the threads, which block all signals.
    ///
    /// - Parameters:
    ///   - threads: the number of threads: one for root, one for closes that cannot sleep, and at least one for the
    ///     other closes.
    ///   - capabilities: the only capabilities of the threads; nil for those of the calling thread.
    ///   - closing: closes one descriptor. Tests replace it.
    /// - Throws: EAGAIN when the system or the user may have no more threads, ENOMEM.
    init(
        threads: Int, keeping capabilities: [Capability]? = nil,
        closing: @escaping @Sendable (FileDescriptor) -> Void = Closer.closeGracefully
    ) throws(SystemCallError) {
        do throws(SystemCallError) {
            try Self.start(root, capabilities, closing)
            try Self.start(prompt, capabilities, closing)
            for _ in 2..<max(threads, 3) { try Self.start(others, capabilities, closing) }
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
        _ lane: Lane, _ capabilities: [Capability]?, _ closing: @escaping @Sendable (FileDescriptor) -> Void
    ) throws(SystemCallError) {
        try startThread(stackSize: 128 << 10, blockingSignals: true, keeping: capabilities) {
            while let job = lane.next() {
                closing(job.descriptor)
                lane.finish(job)
            }
        }
    }

    // MARK: Closing

    /// Closes a descriptor later, on another thread. The closer owns the descriptor from now on. This call never waits
    /// for a file.
    func close(_ descriptor: FileDescriptor, of user: UInt32) { close([descriptor], of: user) }

    /// Like ``close(_:of:)``, for a descriptor with an owner.
    func close(_ descriptor: consuming OwnedDescriptor, of user: UInt32) { close(descriptor.release(), of: user) }

    /// Like ``close(_:of:)``, for many descriptors of one user.
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

    /// Like ``close(_:of:)``, for a file that was held. A small memory file is closed at once: its close cannot sleep,
    /// and takes less time than waking a thread.
    func close(held file: FileDescriptor, of user: UInt32) {
        if file.isMemory(upTo: Self.mostAtOnce) { try? closeDescriptor(file) } else { close([file], of: user) }
    }

    /// The most bytes of memory that the calling thread frees itself. It takes about 30 microseconds.
    private static let mostAtOnce: UInt64 = 1 << 20
    /// The most bytes of memory that the lane of closes that cannot sleep frees at once. It takes a few milliseconds.
    private static let mostPrompt: UInt64 = 16 << 20

    /// Like ``close(_:of:)``, for one of luod's own sockets, which no client holds. Only unread messages from clients
    /// can delay its close.
    func close(ownSocket: FileDescriptor, of user: UInt32) {
        let lane = user == 0 ? root : ownSocket.hasMessage ? others : prompt
        lane.add([ownSocket], of: user)
    }

    /// The number of a user's descriptors that wait or are being closed.
    func pending(of user: UInt32) -> Int { lanes.reduce(0) { $0 + $1.pending(of: user) } }

    /// The number of a user's descriptors that wait or are being closed, if none was closed for
    /// ``ClosingQueue/patience``; otherwise 0. They count against the user's limit. Closes that end soon do not count,
    /// so a client at its limit can release one file and preserve another.
    func stalled(of user: UInt32) -> Int { lanes.reduce(0) { $0 + $1.stalled(of: user) } }

    /// The number of all users' descriptors that wait or are being closed.
    var pending: Int { lanes.reduce(0) { $0 + $1.pending } }

    /// Closes a descriptor. The close of a socket does not wait for its peer.
    ///
    /// SO_LINGER with a time makes the last close of a socket wait until the peer has acknowledged everything, for up
    /// to that time. Without SO_LINGER the kernel does the same in the background: it still sends the queued bytes, and
    /// TCP resets the connection only if unread bytes were received, which is the same either way. No client waits for
    /// the result of this close, so nothing is lost by closing in the background. SO_LINGER with the time 0 does not
    /// wait: it resets the connection. The client asked for that, so this setting stays.
    static func closeGracefully(_ descriptor: FileDescriptor) {
        descriptor.stopLingering()
        // close(2) closes the descriptor even when it fails, and there is no client left to tell.
        try? closeDescriptor(descriptor)
    }
}

extension FileDescriptor {
    /// Whether the descriptor is a memory file with at most this many bytes of memory.
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
        /// The time when the last descriptor was closed, or when the first one came, in nanoseconds.
        var lastProgress: UInt64 = 0
        var pending: Int { waiting.count + (isBusy ? 1 : 0) }
    }

    /// The users with pending descriptors. A user without any has no entry.
    private var users: [UInt32: UserQueue] = [:]
    /// Users with a waiting descriptor and no running close, in the order in which they are served.
    private var turns = Fifo<UInt32>()

    /// The number of all users' descriptors that wait or are being closed.
    private(set) var pending = 0

    /// Whether ``next()`` has a descriptor.
    var hasNext: Bool { turns.count > 0 }

    /// The number of a user's descriptors that wait or are being closed.
    func pending(of user: UInt32) -> Int { users[user]?.pending ?? 0 }

    /// Like ``pending(of:)``, if no descriptor of the user was closed for ``patience``; otherwise 0.
    func stalled(of user: UInt32, at now: UInt64) -> Int {
        guard let queue = users[user], now > queue.lastProgress + Self.patience else { return 0 }
        return queue.pending
    }

    /// A user without a finished close for this time is stalled, in nanoseconds. The user's pending descriptors then
    /// count against the limit.
    static let patience: UInt64 = 50_000_000

    /// Appends descriptors to a user's queue. `now` is the time, in nanoseconds.
    ///
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
    /// The oldest elements, in reverse order: the oldest is the last.
    private var leaving: [Element] = []

    var count: Int { arriving.count + leaving.count }

    mutating func append(_ element: Element) { arriving.append(element) }

    mutating func popFirst() -> Element? {
        if leaving.isEmpty {
            // In place: neither array is allocated again.
            swap(&leaving, &arriving)
            leaving.reverse()
        }
        return leaving.popLast()
    }

    /// Returns the oldest element, and whether it was the last one.
    mutating func take() -> (element: Element?, isLast: Bool) { (popFirst(), count == 0) }
}
