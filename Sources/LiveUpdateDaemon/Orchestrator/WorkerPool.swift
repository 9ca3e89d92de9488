// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Threads for requests that take long, so that other clients are served meanwhile.
///
/// 1. ``start(for:_:)`` gives a piece of work to a thread. Each user has at most one piece at a time, and one thread is
///    for root alone.
/// 2. ``events`` becomes readable when a thread has finished, and ``takeFinished()`` returns the results.
///
/// The threads are made before the seccomp filter, which allows no new ones. They end when the pool is released.
final class WorkerPool: Sendable {
    /// A piece of work.
    struct WorkID: Hashable, Sendable {
        fileprivate var number: UInt64
    }

    /// The result of a piece of work.
    struct Finished: Sendable {
        var work: WorkID
        /// The error; nil after success.
        var error: LiveUpdateError?
        /// The time to charge for the work, in nanoseconds.
        var duration: UInt64
    }

    private struct Job: Sendable {
        var id: WorkID
        var user: SessionUser
        var cancellation: Cancellation
        var body: @Sendable () -> LiveUpdateError?
    }

    private struct State {
        var waiting: [Job] = []
        var finished: [Finished] = []
        var lastNumber: UInt64 = 0
        var users: Set<SessionUser> = []
        var cancellations: [WorkID: Cancellation] = [:]
        var isEnding = false
    }

    private final class Shared: Sendable {
        let lock = Lock()
        // SAFETY: only used under the lock.
        nonisolated(unsafe) var state = State()
        let bell: OwnedDescriptor

        init(_ bell: consuming OwnedDescriptor) { self.bell = bell }

        /// The next job; nil when the calling thread must end.
        func next() -> Job? {
            lock.withLock {
                lock.wait { unsafe state.isEnding || !state.waiting.isEmpty }
                return unsafe state.waiting.isEmpty ? nil : state.waiting.removeFirst()
            }
        }

        func finish(_ job: Job, _ error: LiveUpdateError?, _ duration: UInt64) {
            lock.withLock {
                unsafe state.users.remove(job.user)
                unsafe state.cancellations[job.id] = nil
                unsafe state.finished.append(Finished(work: job.id, error: error, duration: duration))
            }
            // A full queue has enough messages already to wake the reader.
            try? bell.borrowed.send([1])
        }
    }

    private let shared: Shared
    private let ownEvents: OwnedDescriptor
    private let threads: Int

    /// Starts the threads, which block all signals.
    ///
    /// - Parameters:
    ///   - threads: the number of threads, at least two: one for root, and the rest for other users.
    ///   - capabilities: the only capabilities of the threads; nil for those of the calling thread.
    /// - Throws: EAGAIN when the system or the user may have no more threads, ENOMEM, EMFILE.
    init(threads: Int, keeping capabilities: [Capability]? = nil) throws(SystemCallError) {
        self.threads = max(threads, 2)
        let ends = try MessageSocket.pair()
        ownEvents = OwnedDescriptor(taking: ends.0)
        shared = Shared(OwnedDescriptor(taking: ends.1))
        do throws(SystemCallError) {
            for _ in 0..<self.threads { try Self.start(shared, capabilities) }
        } catch {
            // The threads that were started do not end by themselves, and an initializer that fails has no deinit.
            Self.end(shared)
            throw error
        }
    }

    deinit { Self.end(shared) }

    private static func start(_ shared: Shared, _ capabilities: [Capability]?) throws(SystemCallError) {
        try startThread(stackSize: 1 << 20, blockingSignals: true, keeping: capabilities) {
            // Long requests must not have the raised priority of the serving thread.
            Priority.lower()
            while let job = shared.next() {
                var clock = WorkClock()
                let error = job.cancellation.run(job.body)
                shared.finish(job, error, clock.lap())
            }
        }
    }

    private static func end(_ shared: Shared) {
        shared.lock.withLock {
            unsafe shared.state.isEnding = true
            shared.lock.wakeAll()
        }
    }

    /// Readable when a piece of work has finished.
    var events: FileDescriptor { ownEvents.borrowed }

    /// Whether a thread is free for a user and the user has no work under way.
    func isFree(for user: SessionUser) -> Bool { shared.lock.withLock { isFreeLocked(for: user) } }

    private func isFreeLocked(for user: SessionUser) -> Bool {
        let users = unsafe shared.state.users
        guard !users.contains(user) else { return false }
        return user == 0 || users.count(where: { $0 != 0 }) < threads - 1
    }

    /// Starts a piece of work.
    ///
    /// - Returns: nil while no thread is free for the user.
    func start(for user: SessionUser, _ body: @escaping @Sendable () throws(LiveUpdateError) -> Void) -> WorkID? {
        shared.lock.withLock {
            guard isFreeLocked(for: user) else { return nil }
            unsafe shared.state.lastNumber += 1
            unsafe shared.state.users.insert(user)
            let id = unsafe WorkID(number: shared.state.lastNumber)
            let cancellation = Cancellation()
            unsafe shared.state.cancellations[id] = cancellation
            let job = Job(id: id, user: user, cancellation: cancellation) {
                do throws(LiveUpdateError) {
                    try body()
                    return nil
                } catch {
                    return error
                }
            }
            unsafe shared.state.waiting.append(job)
            shared.lock.wakeOne()
            return id
        }
    }

    /// Asks a thread to give up a piece of work. The work then ends with ECANCELED, or completes as usual.
    func cancel(_ work: WorkID) { shared.lock.withLock { unsafe shared.state.cancellations[work] }?.cancel() }

    /// The results since the last call.
    func takeFinished() -> [Finished] {
        while (try? events.receive(.now)) != nil {}
        return shared.lock.withLock {
            defer { unsafe shared.state.finished = [] }
            return unsafe shared.state.finished
        }
    }
}
