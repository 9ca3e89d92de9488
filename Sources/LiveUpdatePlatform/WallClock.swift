// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc

/// The time of CLOCK_REALTIME, in nanoseconds since 1970. It jumps when the clock is set.
package func wallClockNanoseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return nanoseconds(of: time)
}

/// The time at which this kernel started, in nanoseconds of CLOCK_REALTIME: the time since then is CLOCK_BOOTTIME.
package func kernelStartNanoseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_BOOTTIME, &time)
    return wallClockNanoseconds() &- nanoseconds(of: time)
}

/// A time in nanoseconds. A time that is too far away becomes the farthest one.
func nanoseconds(of time: timespec) -> Int64 {
    let (seconds, isTooFar) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, isSumTooFar) = seconds.addingReportingOverflow(Int64(time.tv_nsec))
    return isTooFar || isSumTooFar ? time.tv_sec < 0 ? .min : .max : sum
}

/// A time of CLOCK_REALTIME as ISO 8601 in UTC, with milliseconds: 2026-03-01T12:00:00.250Z.
package func wallClockText(_ nanoseconds: Int64) -> String {
    let (days, time) = floorDivision(floorDivision(nanoseconds, 1_000_000).quotient, 86_400_000)
    func digits(_ number: Int64, _ count: Int = 2) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    let (year, month, day) = date(ofDay: days)
    let clock = [time / 3_600_000, time / 60_000 % 60, time / 1000 % 60].map { digits($0) }.joined(separator: ":")
    return "\(digits(year, 4))-\(digits(month))-\(digits(day))T\(clock).\(digits(time % 1000, 3))Z"
}

/// The date of a day, counted from 1970-01-01, in the Gregorian calendar. The years of this calculation begin in March,
/// so that the leap day is the last day of a year, and 400 of them have always 146,097 days.
private func date(ofDay days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = floorDivision(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + 400 * era + (month <= 2 ? 1 : 0), month, day)
}

private func floorDivision(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}
