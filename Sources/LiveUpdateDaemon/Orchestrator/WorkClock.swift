// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// Measures the time to charge for this thread's pieces of work, one after the other.
///
/// A piece costs the time that it took. If other programs keep the processors busy, the kernel may have run them
/// meanwhile. A piece that took long therefore costs no more than the thread's processor time, unless the piece made
/// the thread sleep.
struct WorkClock {
    /// The time when the last piece ended, in nanoseconds.
    private(set) var now: UInt64
    private let before: ThreadUse?
    private var charged: UInt64 = 0

    /// Begins with the first piece.
    ///
    /// - Parameters:
    ///   - now: the time, in nanoseconds.
    ///   - isShared: whether a charge may make another party wait. Only then is the processor time read.
    init(at now: UInt64 = monotonicNanoseconds(), isShared: Bool = true) {
        self.now = now
        before = isShared ? ThreadUse.now : nil
    }

    /// Ends a piece and begins the next one.
    ///
    /// - Returns: the time to charge for the ended piece, in nanoseconds.
    mutating func lap() -> UInt64 {
        let end = monotonicNanoseconds()
        let charge = Self.charge(end - now, after: charged, since: before, now: { ThreadUse.now })
        charged += charge
        now = end
        return charge
    }

    /// Computes the charge for a piece.
    ///
    /// - Parameters:
    ///   - duration: the duration of the piece, in nanoseconds.
    ///   - charged: the charges since `before`.
    ///   - before: the thread's use at the beginning; nil to charge the duration.
    ///   - now: returns the thread's use now; nil to charge the duration.
    /// - Returns: the time to charge, in nanoseconds.
    static func charge(
        _ duration: UInt64, after charged: UInt64, since before: ThreadUse?, now: () -> ThreadUse?
    ) -> UInt64 {
        guard duration > long, let before, let now = now() else { return duration }
        guard now.sleeps == before.sleeps else { return duration }
        let used = now.processor > before.processor ? now.processor - before.processor : 0
        return min(duration, used > charged ? used - charged : 0)
    }

    /// The duration above which the processor time is read, in nanoseconds.
    static let long: UInt64 = 300_000
}
