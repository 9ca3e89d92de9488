// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover

/// Identifies a request while its connection exists: the slot of the connection and a digest of the request.
struct RequestKey: Hashable, Sendable {
    var slot: Int64
    var digest: UInt64

    init(slot: Int64, digest: UInt64) {
        self.slot = slot
        self.digest = digest
    }

    /// - Parameters:
    ///   - slot: the slot of the connection.
    ///   - message: the bytes of the request. Its beginning and its end, where the tag is, go into the digest.
    init(slot: Int64, _ message: [UInt8]) {
        self.slot = slot
        var digest = UInt64(message.count)
        func mix(_ word: UInt64) {
            digest = (digest ^ word) &* 0x9E37_79B9_7F4A_7C15
            digest ^= digest >> 32
        }
        guard message.count >= 8 else {
            for byte in message { mix(UInt64(byte)) }
            self.digest = digest
            return
        }
        // SAFETY: each offset is at least eight bytes before the end.
        unsafe message.withUnsafeBytes { bytes in
            let last = bytes.count - 8
            for offset in stride(from: 0, to: min(last, Self.most), by: 8) {
                mix(unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            }
            mix(unsafe bytes.loadUnaligned(fromByteOffset: last, as: UInt64.self))
        }
        self.digest = digest
    }

    /// The most bytes that go into the digest. Only LOAD and similar calls are longer.
    private static let most = 96
}

/// Counts how often requests have ended orchestrators, and decides which requests are not done again. It does no I/O.
///
/// 1. A request counts as the cause of a death if it was being done when the orchestrator died.
/// 2. After ``mostFaults`` deaths by a fault, or ``mostKills`` by SIGKILL, the request is not done again.
/// 3. A user with twice as many deaths by the user's requests is not served for ``pause``. Root is always served.
struct RequestDeaths: Equatable, Sendable {
    /// The way in which an orchestrator ended.
    enum Cause: Equatable, Sendable {
        /// A signal that a fault of the program raises, a failing exit code of its own, or an end by the keeper because
        /// the orchestrator did not answer.
        case fault
        /// SIGKILL, which also comes from the kernel when memory is short.
        case kill
        /// Another signal, which only an administrator sends, or a successful exit.
        case request

        /// SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGSEGV, SIGXFSZ, SIGSYS: the same numbers on x86-64 and AArch64.
        private static let faults: Set<Int32> = [4, 5, 6, 7, 11, 25, 31]

        /// - Parameters:
        ///   - signal: the signal that ended it; nil after an exit.
        ///   - code: the exit code.
        init(signal: Int32?, code: Int32) {
            guard let signal else {
                self = code == 0 ? .request : .fault
                return
            }
            self = Self.faults.contains(signal) ? .fault : signal == 9 ? .kill : .request
        }

        var points: UInt32 {
            switch self {
            case .fault: 5
            case .kill: 2
            case .request: 0
            }
        }
    }

    /// The number of deaths by a fault after which a request is not done again; and the number of deaths by SIGKILL.
    static let mostFaults = 2
    static let mostKills = 5
    /// The same limit in points: a fault counts 5, and SIGKILL counts 2.
    static let enough: UInt32 = 10
    /// The limit of a user in points: four faults, or ten times SIGKILL.
    static let enoughOfUser: UInt32 = 20
    /// The time for which a user is not served, in milliseconds.
    static let pause: UInt64 = 60_000
    /// Deaths of a user that are further apart than this are not added up, in milliseconds.
    static let memory: UInt64 = 600_000
    /// The most requests, and the most users, that are counted. The oldest are forgotten first.
    static let most = 64

    private struct Count: Equatable, Sendable {
        var key: RequestKey
        var points: UInt32 = 0
        var deaths: UInt32 = 0
    }

    private struct UserCount: Equatable, Sendable {
        var user: UInt32
        var points: UInt32 = 0
        /// The time when the last orchestrator died, in milliseconds of CLOCK_MONOTONIC.
        var last: UInt64 = 0
        /// The user is not served until this time.
        var until: UInt64 = 0
    }

    private var counts: [Count] = []
    private var users: [UserCount] = []

    init() {}

    /// Counts a death. `requests` are the requests that were being done, with the user of each. `now` is the time, in
    /// milliseconds of CLOCK_MONOTONIC.
    mutating func note(_ requests: [(key: RequestKey, user: UInt32)], _ cause: Cause, at now: UInt64) {
        guard cause.points > 0 else { return }
        for (key, user) in requests {
            var count = Count(key: key)
            if let known = counts.firstIndex(where: { $0.key == key }) { count = counts.remove(at: known) }
            count.points = min(count.points + cause.points, 1000)
            count.deaths = min(count.deaths + 1, 1000)
            counts = [Count](counts.suffix(Self.most - 1)) + [count]
            if user != 0 { note(user, cause, now) }
        }
    }

    private mutating func note(_ user: UInt32, _ cause: Cause, _ now: UInt64) {
        var count = UserCount(user: user)
        if let known = users.firstIndex(where: { $0.user == user }) { count = users.remove(at: known) }
        if now < count.last || now - count.last > Self.memory { count.points = 0 }
        count.points += cause.points
        count.last = now
        if count.points >= Self.enoughOfUser {
            count.points = 0
            count.until = now + Self.pause
        }
        users = [UserCount](users.suffix(Self.most - 1)) + [count]
    }

    /// The number of orchestrators that a request has ended, if there were too many to do it again; otherwise nil.
    func endedTooMany(_ key: RequestKey) -> UInt32? {
        guard let count = counts.first(where: { $0.key == key }), count.points >= Self.enough else { return nil }
        return count.deaths
    }

    /// Whether there is any request that is not done again.
    var hasEndedTooMany: Bool { counts.contains { $0.points >= Self.enough } }

    /// Whether a user is not served now.
    func mustPause(_ user: UInt32, at now: UInt64) -> Bool {
        users.contains { $0.user == user && now < $0.until && $0.until - now <= Self.pause }
    }

    /// The users that are not served now.
    func pausing(at now: UInt64) -> [UInt32] { users.map(\.user).filter { mustPause($0, at: now) } }

    // MARK: In memory

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 8 + counts.count * 24 + users.count * 24)
        writer.put(UInt32(counts.count))
        writer.put(UInt32(users.count))
        for count in counts {
            writer.put(count.key.slot)
            writer.put(count.key.digest)
            writer.put(count.points)
            writer.put(count.deaths)
        }
        for count in users {
            writer.put(count.user)
            writer.put(count.points)
            writer.put(count.last)
            writer.put(count.until)
        }
        return writer.bytes
    }

    /// - Returns: nil for invalid bytes.
    init?(_ bytes: [UInt8]) {
        var reader = ByteReader(bytes, "deaths")
        do throws(ArenaError) {
            let counted = try reader.take(UInt32.self)
            let users = try reader.take(UInt32.self)
            guard counted <= Self.most, users <= Self.most else { return nil }
            for _ in 0..<counted {
                let key = RequestKey(slot: try reader.take(), digest: try reader.take())
                counts.append(Count(key: key, points: min(try reader.take(), 1000), deaths: try reader.take()))
            }
            for _ in 0..<users {
                self.users.append(
                    UserCount(
                        user: try reader.take(), points: min(try reader.take(), 1000), last: try reader.take(),
                        until: try reader.take()))
            }
        } catch {
            return nil
        }
        guard reader.isAtEnd else { return nil }
    }
}
