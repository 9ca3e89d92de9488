// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// Admits requests: requests on sessions run together, and an update or a registration runs alone.
///
/// The lock also knows the threads that run a callback or hold a loan. A request of such a thread could wait for
/// itself, so it is refused with EDEADLK before anything is done.
final class RequestLock: Sendable {
    private let lock = Lock()
    private nonisolated(unsafe) var state = State()

    private struct State {
        var shared = 0
        var exclusive = false
        /// The number of waiting requests that must run alone. Later requests let them go first.
        var waiting = 0
        /// The threads inside, each with the depth of its calls. A search through the list is fast because there are
        /// few.
        var inside: [(thread: ThreadID, depth: Int)] = []

        mutating func enter(_ thread: ThreadID) {
            if let index = inside.firstIndex(where: { $0.thread == thread }) {
                inside[index].depth += 1
            } else {
                inside.append((thread, 1))
            }
        }

        mutating func leave(_ thread: ThreadID) {
            guard let index = inside.firstIndex(where: { $0.thread == thread }) else { return }
            inside[index].depth -= 1
            if inside[index].depth == 0 { inside.remove(at: index) }
        }
    }

    enum Kind {
        case shared, exclusive
    }

    /// Runs a request.
    ///
    /// - Throws: EDEADLK inside a callback or a loan.
    func enter<Value: ~Copyable>(
        _ kind: Kind, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        let thread = ThreadID.current
        try lock.withLock { () throws(LiveUpdateError) in
            guard unsafe !state.inside.contains(where: { $0.thread == thread }) else {
                throw LiveUpdateError(
                    .deadlock, "a request from inside a callback or a getter's closure",
                    remedy: "make it after that has returned")
            }
            wait(kind)
            unsafe state.enter(thread)
        }
        defer { lock.withLock { leave(kind, thread) } }
        return try body()
    }

    /// Marks this thread as one that holds a loan.
    func lending<Value>(_ body: () throws(LiveUpdateError) -> Value) throws(LiveUpdateError) -> Value {
        let thread = ThreadID.current
        lock.withLock { unsafe state.enter(thread) }
        defer { lock.withLock { unsafe state.leave(thread) } }
        return try body()
    }

    private func wait(_ kind: Kind) {
        switch kind {
        case .shared:
            lock.wait { unsafe !state.exclusive && state.waiting == 0 }
            unsafe state.shared += 1
        case .exclusive:
            unsafe state.waiting += 1
            lock.wait { unsafe !state.exclusive && state.shared == 0 }
            unsafe state.waiting -= 1
            unsafe state.exclusive = true
        }
    }

    private func leave(_ kind: Kind, _ thread: ThreadID) {
        switch kind {
        case .shared: unsafe state.shared -= 1
        case .exclusive: unsafe state.exclusive = false
        }
        unsafe state.leave(thread)
        lock.wakeAll()
    }
}
