// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The identity of a thread, for comparisons.
package struct ThreadID: Hashable, Sendable {
    private let value: UInt
    /// The calling thread.
    package static var current: ThreadID { ThreadID(value: UInt(pthread_self())) }
}

/// A mutex with a condition: pthread_mutex_lock(3), pthread_cond_wait(3). Unlike `Mutex`, threads can wait on it, and
/// the thread sanitizer sees it.
@safe
package final class Lock: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    /// Makes a lock that is free.
    package init() {
        // One allocation holds both, because there are many locks.
        let mutexSize = unsafe MemoryLayout<pthread_mutex_t>.stride
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: mutexSize + MemoryLayout<pthread_cond_t>.stride, alignment: 16)
        // SAFETY: there is room for both. The size of the first is a multiple of their alignment, which is no more than
        // 16.
        unsafe mutex = memory.bindMemory(to: pthread_mutex_t.self, capacity: 1)
        unsafe condition = (memory + mutexSize).bindMemory(to: pthread_cond_t.self, capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    // SAFETY: both were made in init, and no thread waits on an object that has no references.
    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(condition)
        unsafe UnsafeMutableRawPointer(mutex).deallocate()
    }

    /// Runs `body` while no other thread does. It is inlinable, so that other modules specialize it for their types.
    /// Without specialization it costs more than the lock itself.
    @inlinable
    package func withLock<Value: ~Copyable, Failure>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        acquire()
        defer { release() }
        return try body()
    }

    /// Runs `body` if no other thread holds the lock, and does not wait for the lock.
    ///
    /// - Returns: nil when another thread holds the lock.
    package func withLockIfFree<Value>(_ body: () -> Value) -> Value? {
        guard unsafe pthread_mutex_trylock(mutex) == 0 else { return nil }
        defer { release() }
        return body()
    }

    @usableFromInline
    func acquire() { unsafe pthread_mutex_lock(mutex) }

    @usableFromInline
    func release() { unsafe pthread_mutex_unlock(mutex) }

    /// Waits until `ready` is true, and releases the lock meanwhile. The caller holds the lock. A thread that changes
    /// the condition must call ``wakeAll()`` or ``wakeOne()``.
    package func wait(until ready: () -> Bool) {
        while !ready() { unsafe pthread_cond_wait(condition, mutex) }
    }

    /// Wakes one waiting thread. The caller holds the lock, and all waiting threads wait for the same condition.
    package func wakeOne() { unsafe pthread_cond_signal(condition) }

    /// Wakes all waiting threads. The caller holds the lock.
    package func wakeAll() { unsafe pthread_cond_broadcast(condition) }
}

/// A value that can be accessed only under a lock.
package final class Guarded<Value: Sendable>: Sendable {
    @usableFromInline let lock = Lock()
    /// The value. The lock keeps accesses apart, so the runtime need not check each of them for exclusivity.
    @exclusivity(unchecked) @usableFromInline nonisolated(unsafe) var value: Value

    /// Guards a value.
    package init(_ value: Value) { unsafe self.value = value }

    /// Runs `body` on the value while no other thread does.
    @inlinable
    package func with<Result, Failure>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try lock.withLock { () throws(Failure) in try unsafe body(&value) }
    }
}
