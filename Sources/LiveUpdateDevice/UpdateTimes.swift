// SPDX-License-Identifier: Apache-2.0
import LiveUpdateProtocol

/// The time when each phase of an update ended, in nanoseconds of CLOCK_MONOTONIC. A phase that did not happen is 0: a
/// load ends with `loaded`.
public struct UpdateTimes: Equatable, Sendable {
    /// The request was read.
    public let asked: UInt64
    /// The next image has started and knows all formats in use. In an update it is also prepared, and the wait for
    /// subscribers is over: no client is served from here on.
    public let loaded: UInt64
    /// Everything is frozen and published; in a reload, handed over.
    public let published: UInt64
    /// The next image has read the state.
    public let takenOver: UInt64
    /// The keeper has switched, which is the commit.
    public let switched: UInt64
    /// The next boot answers this request, which is its first.
    public let answered: UInt64

    /// A line for each session that the update discarded, for each file that it left out, and for each subscriber that
    /// was not ready in time. Empty when there is none. luod has 4 KiB for the lines. If some do not fit, the last line
    /// has their number.
    public let remarks: [String]

    init(_ answer: UpdateCall) {
        let times = answer.times
        remarks = answer.lines
        asked = times[0]
        loaded = times[1]
        published = times[2]
        takenOver = times[3]
        switched = times[4]
        answered = times[5]
    }

    /// The blackout: the time without answers, from the first freeze on, in nanoseconds.
    public var blackout: UInt64 { answered > loaded ? answered - loaded : 0 }
}

extension UpdateCall {
    /// The lines of the text.
    var lines: [String] { text.split(separator: "\n").map { String($0) } }
}
