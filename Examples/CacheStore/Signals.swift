// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdateCore

/// Signals that are handled only between two requests. They are always blocked, and stay blocked over execve(2), so the
/// next image sees a signal that comes during an update.
package enum Signals {
    package enum Event {
        case client, update, end
        /// The other descriptor is readable.
        case other
    }

    private static let watched = [SIGHUP, SIGTERM, SIGINT]
    // SAFETY: the handler sets one bit for each signal. It runs only while this one thread unblocks the signals, below.
    private nonisolated(unsafe) static var caught = 0

    /// Blocks the signals. A program calls this before anything else.
    package static func block() {
        for number in watched { signal(number) { unsafe Signals.caught |= 1 << $0 } }
        setMask(SIG_BLOCK)
        signal(SIGPIPE, SIG_IGN)
    }

    /// Waits for a client, a signal, or another descriptor.
    package static func wait(for listener: FileDescriptor, or other: FileDescriptor? = nil) -> Event {
        while true {
            // First, so that many clients cannot keep a signal out.
            setMask(SIG_UNBLOCK)
            setMask(SIG_BLOCK)
            if take(SIGTERM) || take(SIGINT) { return .end }
            if take(SIGHUP) { return .update }
            let readable = waitForReadable([listener] + (other.map { [$0] } ?? []))
            if let other, readable.contains(other) { return .other }
            if readable.contains(listener) { return .client }
        }
    }

    /// Whether a signal has asked the process to end. This does not wait.
    package static func sayToEnd() -> Bool {
        setMask(SIG_UNBLOCK)
        setMask(SIG_BLOCK)
        return take(SIGTERM) || take(SIGINT)
    }

    private static func setMask(_ how: CInt) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in watched { unsafe sigaddset(&set, number) }
        unsafe sigprocmask(how, &set, nil)
    }

    private static func take(_ number: CInt) -> Bool {
        defer { unsafe caught &= ~(1 << number) }
        return unsafe caught & 1 << number != 0
    }

    /// Waits until some of the descriptors are readable: pselect(2). The signals are unblocked only during this wait,
    /// and end it.
    private static func waitForReadable(_ descriptors: [FileDescriptor]) -> [FileDescriptor] {
        var none = sigset_t()
        unsafe sigemptyset(&none)
        var readable = fd_set()
        for descriptor in descriptors {
            let number = Int(descriptor.rawValue)
            precondition(number < 1024, "select(2) knows 1024 descriptors")
            // SAFETY: an fd_set has 1024 bits, and this is one of them.
            unsafe withUnsafeMutableBytes(of: &readable) { unsafe $0[number / 8] |= 1 << (number % 8) }
        }
        let end = (descriptors.map(\.rawValue).max() ?? -1) + 1
        guard unsafe pselect(end, &readable, nil, nil, nil, &none) > 0 else { return [] }
        return descriptors.filter { descriptor in
            let number = Int(descriptor.rawValue)
            // SAFETY: as above.
            return unsafe withUnsafeBytes(of: &readable) { unsafe $0[number / 8] & 1 << (number % 8) != 0 }
        }
    }
}
