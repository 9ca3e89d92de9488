import Glibc

/// CLOCK_MONOTONIC, in nanoseconds: for showing how long something took, and how long to wait. What is kept does not rest on it.
public func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
