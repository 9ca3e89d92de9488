import Glibc

/// Which thread is running: only to be compared.
public struct ThreadID: Hashable, Sendable {
    private let value: UInt
    /// The calling thread.
    public static var current: ThreadID { ThreadID(value: UInt(pthread_self())) }
}

/// A mutual exclusion with conditions, as pthread_mutex_lock(3) and pthread_cond_wait(3): unlike `Mutex` it can be
/// waited on, and the thread sanitizer sees it.
@safe
public final class Lock: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    /// A lock that nobody holds.
    public init() {
        // In one piece: there are many of them.
        let mutexSize = unsafe MemoryLayout<pthread_mutex_t>.stride
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: mutexSize + MemoryLayout<pthread_cond_t>.stride, alignment: 16)
        // SAFETY: there is room for both, and the first is as long as a multiple of their alignment, which is no more
        // than 16.
        unsafe mutex = memory.bindMemory(to: pthread_mutex_t.self, capacity: 1)
        unsafe condition = (memory + mutexSize).bindMemory(to: pthread_cond_t.self, capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    // SAFETY: both were made in init, and nobody waits on an object that nobody refers to.
    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(condition)
        unsafe UnsafeMutableRawPointer(mutex).deallocate()
    }

    /// Runs `body` while no other thread does. Inlinable, so that other modules get it for their types: for types that it
    /// learns at run time it costs more than the lock.
    @inlinable
    public func withLock<Value: ~Copyable, Failure>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        acquire()
        defer { release() }
        return try body()
    }

    /// Runs `body` if no other thread has the lock, and does not wait for it.
    ///
    /// - Returns: nil when another thread has it.
    public func withLockIfFree<Value>(_ body: () -> Value) -> Value? {
        guard unsafe pthread_mutex_trylock(mutex) == 0 else { return nil }
        defer { release() }
        return body()
    }

    @usableFromInline
    func acquire() { unsafe pthread_mutex_lock(mutex) }

    @usableFromInline
    func release() { unsafe pthread_mutex_unlock(mutex) }

    /// With the lock held: lets others in until ``wakeAll()`` was called and `ready` holds.
    public func wait(until ready: () -> Bool) {
        while !ready() { unsafe pthread_cond_wait(condition, mutex) }
    }

    /// With the lock held, when all wait for the same: wakes one of them.
    public func wakeOne() { unsafe pthread_cond_signal(condition) }

    /// With the lock held: wakes all who wait.
    public func wakeAll() { unsafe pthread_cond_broadcast(condition) }
}

/// A value that is only reached under a lock.
public final class Guarded<Value: Sendable>: Sendable {
    @usableFromInline let lock = Lock()
    /// The lock is what keeps accesses apart: the runtime need not look, too, at each of them.
    @exclusivity(unchecked) @usableFromInline nonisolated(unsafe) var value: Value

    /// Guards a value.
    public init(_ value: Value) { unsafe self.value = value }

    /// Runs `body` on the value while no other thread does.
    @inlinable
    public func with<Result, Failure>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try lock.withLock { () throws(Failure) in try unsafe body(&value) }
    }
}
