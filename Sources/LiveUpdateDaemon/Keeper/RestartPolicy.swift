/// How long a process that luod starts in place of a dead one waits before it does anything, so that a process which dies
/// again and again is not started in a tight loop. It does no I/O.
///
/// 1. The first ``immediate`` deaths in a row cost no pause: clients wait as short as possible.
/// 2. Each further death doubles the pause, from ``shortest`` to ``longest``.
/// 3. A process that has run for ``steady`` after its pause ends the row.
///
/// The next process is started at once, and waits itself: so a second process holds all descriptors during the pause.
struct RestartPolicy: Equatable, Sendable {
    /// Deaths in a row without a pause.
    static let immediate = 5
    /// Milliseconds.
    static let shortest: UInt64 = 100
    /// Milliseconds.
    static let longest: UInt64 = 1600
    /// Milliseconds.
    static let steady: UInt64 = 1000

    /// Deaths of processes that had not run for ``steady``, one after the other.
    private(set) var quickDeaths = 0
    /// When the pause of the process that runs ends, in milliseconds of CLOCK_MONOTONIC.
    private var beginning: UInt64 = 0

    /// Counts a death.
    ///
    /// - Parameter now: milliseconds of CLOCK_MONOTONIC.
    /// - Returns: how many milliseconds the next process has to wait.
    mutating func pause(afterDeathAt now: UInt64) -> UInt64 {
        let isQuick = now < beginning || now - beginning < Self.steady
        quickDeaths = isQuick ? quickDeaths + 1 : 1
        let pause = Self.pause(after: quickDeaths)
        beginning = now + pause
        return pause
    }

    private static func pause(after deaths: Int) -> UInt64 {
        guard deaths > immediate else { return 0 }
        // Beyond 16 the shift would not matter any more.
        return min(shortest << UInt64(min(deaths - immediate - 1, 16)), longest)
    }
}
