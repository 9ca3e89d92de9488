import LiveUpdateEmbedded

/// When what happened, by CLOCK_MONOTONIC, in the order of the line that is printed.
struct Moments {
    /// Before the first file was preserved.
    var preserving: UInt64
    /// Before the update was asked for.
    var rebooting: UInt64
    /// The first freeze.
    var freezing: UInt64 = 0
    /// After the last freeze.
    var frozen: UInt64 = 0
    /// The store that made the tree true.
    var published: UInt64 = 0
    /// The next image's first statement.
    var started: UInt64
    /// Everything that was handed over is read.
    var opened: UInt64 = 0
    /// The first request is answered: a session is retrieved.
    var answered: UInt64 = 0
    /// Every file is back, and a word of each was read.
    var finished: UInt64 = 0

    init(preserving: UInt64, rebooting: UInt64, started: UInt64) {
        self.preserving = preserving
        self.rebooting = rebooting
        self.started = started
    }

    var line: String {
        "\(preserving) \(rebooting) \(freezing) \(frozen) \(published) \(started) \(opened) \(answered) \(finished)"
    }
}
