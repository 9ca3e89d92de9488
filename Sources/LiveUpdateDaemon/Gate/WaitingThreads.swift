// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform

/// The number of threads of each user that wait for other threads. It has a limit, so that there is room for the
/// threads of other users. It does no I/O.
struct WaitingThreads: Sendable {
    /// The most waiting threads of one user except root. Beyond it, the calls of each program wait one behind the
    /// other.
    static let most = 2048

    private var threads: [SessionUser: Int] = [:]

    /// Counts one more thread.
    ///
    /// - Returns: false when the user may have no more.
    mutating func begin(_ user: SessionUser) -> Bool {
        guard user == 0 || threads[user, default: 0] < Self.most else { return false }
        threads[user, default: 0] += 1
        return true
    }

    /// Counts one thread less.
    mutating func end(_ user: SessionUser) {
        let left = threads[user, default: 1] - 1
        threads[user] = left == 0 ? nil : left
    }
}
