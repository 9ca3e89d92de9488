import Glibc

/// Waiting for what another process is about to do. To sleep at once would cost more than it takes: the other one would have to
/// wake this one, and an idle processor, a virtual one above all, wakes slowly.
public enum BriefWait {
    /// About what waking takes, in nanoseconds: so it costs at most twice as much as sleeping at once, whatever comes.
    public static let longest: UInt64 = 100_000

    /// Whether whoever is waited for can run meanwhile: not on a single processor.
    public static let isOfUse = Processors.allowed.count > 1

    /// Looks again and again, for a moment.
    ///
    /// - Parameter isThere: looks, without waiting.
    /// - Returns: whether it came. If not, it is time to sleep.
    public static func found<Failure>(_ isThere: () throws(Failure) -> Bool) throws(Failure) -> Bool {
        guard isOfUse else { return false }
        let end = monotonicNanoseconds() + longest
        repeat {
            if try isThere() { return true }
            // No sched_yield(2): who yields on a busy machine comes last, and who is woken comes first.
        } while monotonicNanoseconds() < end
        return false
    }
}
