// SPDX-License-Identifier: Apache-2.0

/// The pause that a process of luod makes before it works, if it replaces a dead process. Without a pause, a process
/// that always dies would be restarted in a tight loop. It does no I/O.
///
/// 1. There is no pause after the first ``immediate`` deaths in a row, so that clients hardly wait.
/// 2. Each further death doubles the pause, from ``shortest`` to ``longest``.
/// 3. A process that has run for ``steady`` after its pause ends the row.
///
/// The next process starts at once and makes the pause itself, so that a second process holds all descriptors
/// meanwhile.
struct RestartPolicy: Equatable, Sendable {
    /// Deaths in a row without a pause.
    static let immediate = 5
    /// The first pause, in milliseconds.
    static let shortest: UInt64 = 100
    /// The longest pause, in milliseconds.
    static let longest: UInt64 = 1600
    /// The running time that ends a row of deaths, in milliseconds.
    static let steady: UInt64 = 1000

    /// Deaths in a row of processes that had run for less than ``steady``.
    private(set) var quickDeaths = 0
    /// The end of the current process's pause, in milliseconds of CLOCK_MONOTONIC.
    private var beginning: UInt64 = 0

    /// Counts a death.
    ///
    /// - Parameter now: milliseconds of CLOCK_MONOTONIC.
    /// - Returns: the pause of the next process, in milliseconds.
    mutating func pause(afterDeathAt now: UInt64) -> UInt64 {
        let isQuick = now < beginning || now - beginning < Self.steady
        quickDeaths = isQuick ? quickDeaths + 1 : 1
        let pause = Self.pause(after: quickDeaths)
        beginning = now + pause
        return pause
    }

    private static func pause(after deaths: Int) -> UInt64 {
        guard deaths > immediate else { return 0 }
        // The pause reaches its longest value long before a shift by 16.
        return min(shortest << UInt64(min(deaths - immediate - 1, 16)), longest)
    }
}
