// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc

/// The time of CLOCK_MONOTONIC, in nanoseconds. It is only for showing durations and limiting waits: no preserved state
/// depends on it.
package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// The time of CLOCK_MONOTONIC, in milliseconds.
package func milliseconds() -> UInt64 { monotonicNanoseconds() / 1_000_000 }

/// The resources that a thread has used since it began: getrusage(2), `RUSAGE_THREAD`.
package struct ThreadUse: Equatable, Sendable {
    /// Processor time, in nanoseconds, to the microsecond.
    package var processor: UInt64
    /// How often the thread has waited for something: `ru_nvcsw`.
    package var sleeps: Int

    /// Makes a value, for tests of decisions.
    ///
    /// - Parameters:
    ///   - processor: processor time, in nanoseconds.
    ///   - sleeps: how often the thread has waited.
    package init(processor: UInt64, sleeps: Int) {
        self.processor = processor
        self.sleeps = sleeps
    }

    /// The use of the calling thread until now; nil when getrusage(2) fails.
    package static var now: ThreadUse? {
        var usage = rusage()
        // RUSAGE_THREAD is behind _GNU_SOURCE.
        guard unsafe getrusage(__rusage_who_t(1), &usage) == 0 else { return nil }
        let time = { (value: timeval) in UInt64(value.tv_sec) * 1_000_000_000 + UInt64(value.tv_usec) * 1000 }
        return ThreadUse(processor: time(usage.ru_utime) + time(usage.ru_stime), sleeps: usage.ru_nvcsw)
    }
}
