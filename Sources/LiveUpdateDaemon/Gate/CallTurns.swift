// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The turns of the calls on each socket: only one call at a time uses a socket, and the others wait.
final class CallTurns: Sendable {
    private let lock = Lock()
    /// The cookies of the sockets that a call uses now.
    private nonisolated(unsafe) var busy: Set<UInt64> = []

    /// Makes a call when the turn on its socket comes. `cookie` is the cookie of the socket. `waits` is called before
    /// this waits for another call.
    func take<Value: ~Copyable, Failure>(
        _ cookie: UInt64, waits: () -> Void, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        if !lock.withLock({ unsafe busy.insert(cookie).inserted }) {
            waits()
            lock.withLock { lock.wait { unsafe busy.insert(cookie).inserted } }
        }
        defer { end(cookie) }
        return try body()
    }

    /// Takes the turn for a recovered call before any other call can take it. The thread of that call ends the turn.
    func reserve(_ cookie: UInt64) { lock.withLock { _ = unsafe busy.insert(cookie) } }

    /// Ends a turn.
    func end(_ cookie: UInt64) {
        lock.withLock {
            _ = unsafe busy.remove(cookie)
            lock.wakeAll()
        }
    }
}
