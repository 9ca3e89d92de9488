// SPDX-License-Identifier: Apache-2.0

/// Decides about a process that does not answer: when the log names it, and when it is ended. It does no I/O.
///
/// A process counts the turns of its loop in the ``ControlMemory``, several per second. The other process looks at the
/// count once in each ``interval``. It counts its own looks instead of time, because a pause of the machine stops both
/// processes.
struct HangPolicy: Equatable, Sendable {
    /// The result of a look.
    enum Verdict: Equatable, Sendable {
        /// Nothing has changed.
        case nothing
        /// The process has not answered for a while, and must be named in the log.
        case silent
        /// The process that was named answers again.
        case answers
        /// The process must be ended.
        case end
    }

    /// The time between two looks, in milliseconds.
    static let interval: UInt64 = 250
    /// The number of looks without an answer after which the process is named.
    static let looksUntilNamed = 8

    private let looksUntilEnd: Int
    private var last: UInt64?
    private var looks = 0

    /// - Parameter patience: how long a process may be silent before it is ended, in milliseconds of looks.
    init(patience: UInt64) { looksUntilEnd = Int(clamping: max(patience / Self.interval, 1)) }

    /// Whether the process is silent now and was named.
    var isSilent: Bool { looks >= min(Self.looksUntilNamed, looksUntilEnd) }

    /// Looks at the count of the other process.
    mutating func look(_ ticks: UInt64) -> Verdict {
        guard ticks == last else {
            let wasSilent = isSilent
            last = ticks
            looks = 0
            return wasSilent ? .answers : .nothing
        }
        looks += 1
        if looks == looksUntilEnd { return .end }
        return looks == Self.looksUntilNamed ? .silent : .nothing
    }

    /// Begins again, for another process, or for one that may be silent for a known reason.
    mutating func beginAgain() {
        last = nil
        looks = 0
    }
}
