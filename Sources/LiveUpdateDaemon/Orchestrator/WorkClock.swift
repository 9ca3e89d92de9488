import Platform

/// Measures the time to charge for pieces of work of this thread, one after the other.
///
/// A piece costs the time that it took. Where other programs keep the processors busy, the kernel may have run them
/// meanwhile: a piece that took long costs no more than the thread's processor time, unless it made the thread sleep.
struct WorkClock {
    /// When the last piece ended, in nanoseconds.
    private(set) var now: UInt64
    private let before: ThreadUse?
    private var charged: UInt64 = 0

    /// Begins with the first piece.
    ///
    /// - Parameters:
    ///   - now: the time, in nanoseconds.
    ///   - isShared: whether a charge may make anything wait: it is only looked at closely then.
    init(at now: UInt64 = monotonicNanoseconds(), isShared: Bool = true) {
        self.now = now
        before = isShared ? ThreadUse.now : nil
    }

    /// Ends a piece, and begins the next one.
    ///
    /// - Returns: what to charge for it, in nanoseconds.
    mutating func lap() -> UInt64 {
        let end = monotonicNanoseconds()
        let charge = Self.charge(end - now, after: charged, since: before, now: { ThreadUse.now })
        charged += charge
        now = end
        return charge
    }

    /// What to charge for a piece.
    ///
    /// - Parameters:
    ///   - duration: how long it took, in nanoseconds.
    ///   - charged: the charges since `before`.
    ///   - before: what the thread had used at the beginning; nil to charge the duration.
    ///   - now: what the thread has used now; nil to charge the duration.
    static func charge(
        _ duration: UInt64, after charged: UInt64, since before: ThreadUse?, now: () -> ThreadUse?
    ) -> UInt64 {
        guard duration > long, let before, let now = now() else { return duration }
        guard now.sleeps == before.sleeps else { return duration }
        let used = now.processor > before.processor ? now.processor - before.processor : 0
        return min(duration, used > charged ? used - charged : 0)
    }

    /// The duration above which a piece is looked at closely, in nanoseconds.
    static let long: UInt64 = 300_000
}
