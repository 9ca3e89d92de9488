// SPDX-License-Identifier: Apache-2.0
import Glibc

/// POSIX threads that start and end where a sanitizer can see it.
package enum Threads {
    private final class Start: Sendable {
        let index: Int
        let body: @Sendable (Int) -> Void

        init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.index = index
            self.body = body
        }
    }

    /// Runs `body` on that many threads at once, and waits for all of them.
    package static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let running = (0..<count).map { Running(start(Start($0, body))) }
        for thread in running { thread.join() }
    }

    /// Starts one thread. The caller must wait for it.
    package static func start(_ body: @escaping @Sendable () -> Void) -> Running {
        Running(start(Start(0) { _ in body() }))
    }

    /// A started thread.
    package struct Running: Sendable {
        private let thread: pthread_t

        fileprivate init(_ thread: pthread_t) { self.thread = thread }

        /// Waits until the thread has ended.
        package func join() { pthread_join(thread, nil) }
    }

    private static func start(_ start: Start) -> pthread_t {
        var thread = pthread_t()
        let argument = unsafe Unmanaged.passRetained(start).toOpaque()
        let result = unsafe pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer = unsafe pointer else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
                start.body(start.index)
                return nil
            }, argument)
        precondition(result == 0, "no thread: \(result)")
        return thread
    }
}

/// Lets other threads run for a while: usleep(3).
package func sleep(milliseconds: UInt32) { usleep(milliseconds * 1000) }
