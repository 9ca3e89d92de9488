/// How the keeper shares out its descriptors (RLIMIT_NOFILE). It does no I/O.
///
/// 1. Some are the keeper's own: processes that it starts and watches, and SpawnNumbers.
/// 2. The orchestrator may hold fewer than the rest. A burst of released descriptors fits, which wait in the keeper to
///    be closed for as long as a client likes.
/// 3. Beyond the burst the keeper says so, and the orchestrator keeps nothing more for users; later nothing more at
///    all.
/// 4. With nothing left the keeper reads no message, because a descriptor in it would be lost.
struct DescriptorBudget: Equatable, Sendable {
    /// RLIMIT_NOFILE of the keeper.
    let limit: Int

    /// The most descriptors that may be held or wait to be closed.
    private var mostKept: Int { limit - (limit < 256 ? 24 : 96) }

    private var burst: Int { min(512, limit / 4) }

    /// RLIMIT_NOFILE of an orchestrator.
    var orchestrators: Int { max(limit - (limit < 512 ? 64 : 128) - burst, Settings.fewestDescriptors) }

    /// Whether a message can be read with its descriptor.
    ///
    /// - Parameter used: descriptors that are kept or wait to be closed.
    func canRead(with used: Int) -> Bool { used < mostKept }

    /// The clients for which the orchestrator may keep more.
    func room(with used: Int) -> KeeperRoom {
        if used < mostKept - burst / 4 { return .forAll }
        return used < mostKept - burst / 8 ? .forRoot : .none
    }
}

/// The clients that the keeper has room for.
enum KeeperRoom: UInt8, Sendable {
    case forAll = 0
    case forRoot = 1
    case none = 2

    /// Whether a descriptor of a user can be kept.
    func admits(_ user: UInt32) -> Bool { self == .forAll || (self == .forRoot && user == 0) }
}

/// The reports to the orchestrator of the descriptors that wait in the keeper to be closed. It does no I/O.
struct ClosingReports: Sendable {
    /// Only users with so many that they matter.
    private var reported: [UInt32: Int] = [:]

    /// From so many descriptors on a user is reported.
    static let many = 64
    /// Below so many a user is reported no more.
    static let few = 32

    /// The users with a last report that is not 0.
    var users: [UInt32] { [UInt32](reported.keys) }

    /// The count to report for a user now; nil when the last report is good enough.
    func due(_ pending: Int, of user: UInt32) -> Int? {
        guard let last = reported[user] else { return pending >= Self.many ? pending : nil }
        if pending < Self.few { return 0 }
        return abs(pending - last) >= max(last / 4, 16) ? pending : nil
    }

    /// Another orchestrator was told nothing, and is to be told of the same users.
    mutating func beginAgain() { reported = reported.mapValues { _ in 0 } }

    /// The orchestrator was told.
    mutating func note(_ count: Int, of user: UInt32) { reported[user] = count == 0 ? nil : count }
}
