// SPDX-License-Identifier: Apache-2.0
import LiveUpdate

/// The times of the events of an update, by CLOCK_MONOTONIC, in the order of the printed line.
struct Moments {
    /// Before the first file was preserved.
    var preserving: UInt64
    /// Before the update was requested.
    var rebooting: UInt64
    /// The first freeze.
    var freezing: UInt64 = 0
    /// After the last freeze.
    var frozen: UInt64 = 0
    /// The store that committed the tree.
    var published: UInt64 = 0
    /// The next image's first statement.
    var started: UInt64
    /// The next image has read everything that was handed over.
    var opened: UInt64 = 0
    /// The first request is answered: a session is retrieved.
    var answered: UInt64 = 0
    /// Every file is retrieved, and a word of each was read.
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
