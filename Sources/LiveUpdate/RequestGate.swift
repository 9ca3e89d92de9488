import Platform
import SystemPackage

/// Who may be inside: requests of sessions together, an update or a registration alone.
///
/// It also knows which threads are in a callback or hold a loan: a request of such a thread could wait for itself, so
/// it is refused with EDEADLK before anything is done.
final class RequestGate: Sendable {
    private let lock = Lock()
    private nonisolated(unsafe) var state = State()

    private struct State {
        var shared = 0
        var exclusive = false
        /// Waiting to be alone: later requests let it go first.
        var waiting = 0
        var inside: [ThreadID: Int] = [:]
    }

    enum Kind {
        case shared, exclusive
    }

    /// Runs a request.
    ///
    /// - Throws: EDEADLK, from inside a callback or a loan.
    func enter<Value>(_ kind: Kind, _ body: () throws(LiveUpdateError) -> Value) throws(LiveUpdateError) -> Value {
        let thread = ThreadID.current
        try lock.withLock { () throws(LiveUpdateError) in
            guard unsafe state.inside[thread] == nil else {
                throw LiveUpdateError(
                    .deadlock, "a request from inside a callback or a getter's closure",
                    remedy: "make it after that has returned")
            }
            wait(kind)
            unsafe state.inside[thread] = 1
        }
        defer { lock.withLock { leave(kind, thread) } }
        return try body()
    }

    /// Marks this thread as one that holds a loan.
    func lending<Value>(_ body: () throws(LiveUpdateError) -> Value) throws(LiveUpdateError) -> Value {
        let thread = ThreadID.current
        lock.withLock { unsafe state.inside[thread, default: 0] += 1 }
        defer { lock.withLock { leaveThread(thread) } }
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
        leaveThread(thread)
        lock.wakeAll()
    }

    private func leaveThread(_ thread: ThreadID) {
        let depth = unsafe state.inside[thread, default: 1] - 1
        unsafe state.inside[thread] = depth == 0 ? nil : depth
    }
}
