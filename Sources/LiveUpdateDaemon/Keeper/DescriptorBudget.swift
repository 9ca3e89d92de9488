// SPDX-License-Identifier: Apache-2.0

/// Divides the keeper's descriptors (RLIMIT_NOFILE). It does no I/O.
///
/// 1. Some are the keeper's own: for processes that it starts and watches, and for SpawnNumbers.
/// 2. The orchestrator may hold fewer than the rest. This leaves room for a burst of released descriptors. They wait in
///    the keeper to be closed, and a client can delay that for any time.
/// 3. Beyond the burst the keeper reports a shortage. The orchestrator then holds nothing more for users except root,
///    and later nothing more at all.
/// 4. With nothing left the keeper reads no message, because it would lose a descriptor in it.
struct DescriptorBudget: Equatable, Sendable {
    /// RLIMIT_NOFILE of the keeper.
    let limit: Int

    /// The most descriptors that may be held or wait to be closed.
    private var mostKept: Int { limit - (limit < 256 ? 24 : 96) }

    private var burst: Int { min(512, limit / 4) }

    /// RLIMIT_NOFILE of an orchestrator.
    var orchestrators: Int { max(limit - (limit < 512 ? 64 : 128) - burst, Settings.fewestDescriptors) }

    /// Whether a message can be read with its descriptor. `used` is the number of descriptors that are held or wait to
    /// be closed.
    func canRead(with used: Int) -> Bool { used < mostKept }

    /// The users for which the orchestrator may hold more.
    func room(with used: Int) -> KeeperRoom {
        if used < mostKept - burst / 4 { return .forAll }
        return used < mostKept - burst / 8 ? .forRoot : .none
    }
}

/// The users that the keeper has room for.
enum KeeperRoom: UInt8, Sendable {
    case forAll = 0
    case forRoot = 1
    case none = 2

    /// Whether there is room for a descriptor of a user.
    func admits(_ user: UInt32) -> Bool { self == .forAll || (self == .forRoot && user == 0) }
}

/// The reports to the orchestrator of the descriptors that wait in the keeper to be closed. It does no I/O.
struct ClosingReports: Sendable {
    /// The last reports, only for users with many waiting descriptors.
    private var reported: [UInt32: Int] = [:]

    /// The number of waiting descriptors from which a user is reported.
    static let many = 64
    /// The number of waiting descriptors below which a user is no longer reported.
    static let few = 32

    /// The users with a last report that is not 0.
    var users: [UInt32] { [UInt32](reported.keys) }

    /// The count to report for a user now; nil when the last report is close enough.
    func due(_ pending: Int, of user: UInt32) -> Int? {
        guard let last = reported[user] else { return pending >= Self.many ? pending : nil }
        if pending < Self.few { return 0 }
        return abs(pending - last) >= max(last / 4, 16) ? pending : nil
    }

    /// Begins again with another orchestrator, which needs a report for each of the same users.
    mutating func beginAgain() { reported = reported.mapValues { _ in 0 } }

    /// Notes that a count was reported to the orchestrator.
    mutating func note(_ count: Int, of user: UInt32) { reported[user] = count == 0 ? nil : count }
}
