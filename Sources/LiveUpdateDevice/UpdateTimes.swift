import LiveUpdateProtocol

/// When each phase of an update ended: CLOCK_MONOTONIC, in nanoseconds. A phase that did not happen is 0: a load ends
/// with `loaded`.
public struct UpdateTimes: Equatable, Sendable {
    /// The request was read.
    public let asked: UInt64
    /// The next image is started, and knows all formats in use. From here no client is served.
    public let loaded: UInt64
    /// Everything is frozen and published; of a reload, handed over.
    public let published: UInt64
    /// The next image has read it.
    public let takenOver: UInt64
    /// The keeper has switched: the commit.
    public let switched: UInt64
    /// The next boot answers its first request, which is this one.
    public let answered: UInt64

    /// A line for each session that the update discarded, and for each file that it left out. Empty when there is none.
    public let remarks: String

    init(_ answer: UpdateCall) {
        let times = answer.times
        remarks = answer.text
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
