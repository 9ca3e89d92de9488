/// What one user has in the arena.
package struct Usage: Equatable, Sendable {
    /// Of both directions.
    package internal(set) var sessions = 0
    /// Preserved, or handed over and not finished.
    package internal(set) var files = 0
    /// What handlers have stored for these files.
    package internal(set) var arenaBytes: UInt64 = 0

    /// Nothing.
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

/// What one user may have: each has an error of its own. What is there already stays when a limit is lowered.
package struct UserLimits: Equatable, Sendable {
    /// Beyond it: EUSERS.
    package var sessions: Int
    /// Beyond it: EDQUOT.
    package var files: Int
    /// Beyond it: ENOSPC.
    package var arenaBytes: UInt64

    /// No limits, unless they are given.
    package init(sessions: Int = .max, files: Int = .max, arenaBytes: UInt64 = .max) {
        self.sessions = sessions
        self.files = files
        self.arenaBytes = arenaBytes
    }
}

extension FileState {
    /// Damage can name any length.
    fileprivate var arenaBytes: UInt64 { ranges.reduce(0) { $0 &+ $1.range.length } }
}
