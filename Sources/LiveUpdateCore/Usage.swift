// SPDX-License-Identifier: Apache-2.0

/// The usage of the arena by one user.
package struct Usage: Equatable, Sendable {
    /// The sessions of both directions.
    package internal(set) var sessions = 0
    /// The files that are preserved, or that were handed over and are not finished.
    package internal(set) var files = 0
    /// The bytes that handlers have stored for these files.
    package internal(set) var arenaBytes: UInt64 = 0

    /// Makes an empty usage.
    package init() {}

    mutating func add(_ file: FileState) {
        files += 1
        arenaBytes &+= file.arenaBytes
    }

    mutating func remove(_ file: FileState) {
        files -= 1
        arenaBytes &-= file.arenaBytes
    }
}

/// The limits of one user, each with an error of its own. Lowering a limit removes nothing.
package struct UserLimits: Equatable, Sendable {
    /// The most sessions. Another one fails with EUSERS.
    package var sessions: Int
    /// The most files. Another one fails with EDQUOT.
    package var files: Int
    /// The most bytes that handlers may store. A file that needs more fails with ENOSPC.
    package var arenaBytes: UInt64

    /// Makes limits. Without arguments there are none.
    package init(sessions: Int = .max, files: Int = .max, arenaBytes: UInt64 = .max) {
        self.sessions = sessions
        self.files = files
        self.arenaBytes = arenaBytes
    }
}

extension FileState {
    /// The length of the file's ranges. A damaged record can name any length, so the sum may overflow.
    fileprivate var arenaBytes: UInt64 { ranges.reduce(0) { $0 &+ $1.range.length } }
}
