// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// A lock that its holder can take again, and that a wait releases meanwhile. All FLBs of a boot are guarded by one
/// monitor, because a callback of one FLB may ask for another FLB.
final class Monitor: Sendable {
    private let lock = Lock()
    private nonisolated(unsafe) var holder: ThreadID?
    private nonisolated(unsafe) var depth = 0
    /// The number of times that threads have left the monitor.
    private nonisolated(unsafe) var changes = 0

    func enter<Value, Failure>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        lock.withLock { acquire() }
        defer { lock.withLock { release() } }
        return try body()
    }

    private func acquire() {
        let thread = ThreadID.current
        if unsafe holder != thread {
            lock.wait { unsafe holder == nil }
            unsafe holder = thread
        }
        unsafe depth += 1
    }

    private func release() {
        unsafe depth -= 1
        guard unsafe depth == 0 else { return }
        unsafe holder = nil
        unsafe changes += 1
        lock.wakeAll()
    }

    /// Waits until `ready` returns true, and lets other threads in meanwhile. The caller has entered the monitor.
    func wait(until ready: () -> Bool) {
        while !ready() {
            lock.withLock {
                let kept = unsafe depth
                unsafe depth = 0
                unsafe holder = nil
                lock.wakeAll()
                // A thread that makes `ready` true enters and leaves, and leaving counts and wakes.
                let seen = unsafe changes
                lock.wait { unsafe holder == nil && changes != seen }
                unsafe holder = ThreadID.current
                unsafe depth = kept
            }
        }
    }

    /// Whether this thread has entered the monitor twice, so that it is inside a callback. The caller has entered the
    /// monitor.
    var isNested: Bool { lock.withLock { unsafe depth > 1 } }
}
