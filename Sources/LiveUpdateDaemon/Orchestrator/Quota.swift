// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform

/// Decides about the limits on descriptors, for each user and for the whole process. It does no I/O.
///
/// Each session, file, connection, opened device, program's listener, and descriptor that waits to be closed counts as
/// one.
struct Quota: Sendable {
    /// The most descriptors that the process may hold. The rest of RLIMIT_NOFILE is for descriptors in messages.
    let mostOfProcess: Int
    /// The most descriptors that luod holds for each user except root.
    let mostOfUser: Int
    /// The limits on the memory of the files of each user except root.
    let memory: MemoryLimits
    /// Whether every user can connect. The memory has default limits in this case.
    let isOpenToEverybody: Bool
    /// The number of each user's connections, devices, listeners, and sessions of ended boots. The core counts sessions
    /// and files.
    private var connections: [SessionUser: Int] = [:]

    /// The number of last descriptors that only root may use: for status, stop, update and removal. At most 32.
    let reservedForRoot: Int
    /// The most descriptors of the process, including connections that are refused and closed at once.
    var mostWithRefused: Int { mostOfProcess + reservedForRoot / 2 }
    /// The most descriptors of the process, including connections of root and luod's own user on their own socket.
    /// Connections and stuck closes of other users cannot reach this count.
    var mostWithRoot: Int { mostWithRefused + reservedForRoot / 2 }
    /// The most descriptors of the process, including sessions and files of root. Refused connections leave room for
    /// these, and these leave room for root's connections.
    private var mostHeldWithRoot: Int { mostWithRefused + reservedForRoot / 4 }
    /// The number of connections that a user may always have, so that the user can release something.
    static let leastConnections = 4

    init(
        mostOfProcess: Int, mostOfUser: Int, memory: MemoryLimits = MemoryLimits(), isOpenToEverybody: Bool = false
    ) {
        self.memory = memory
        self.isOpenToEverybody = isOpenToEverybody
        self.mostOfProcess = mostOfProcess
        self.mostOfUser = mostOfUser
        reservedForRoot = min(32, mostOfProcess / 4)
    }

    /// The counts that the quota does not have itself.
    struct Usage {
        /// The number of descriptors that the process holds.
        var process: Int
        /// The number of the user's sessions and files.
        var held: Int
        /// The number of the user's descriptors that wait to be closed.
        var closing: Int
    }

    mutating func add(to user: SessionUser) { connections[user, default: 0] += 1 }

    mutating func remove(from user: SessionUser) {
        let left = connections[user, default: 1] - 1
        connections[user] = left == 0 ? nil : left
    }

    /// Whether one more descriptor may be held for a user. `isUnlimited` says whether the client is root, even if it
    /// acts as another user.
    func hasRoom(for user: SessionUser, isUnlimited: Bool, _ usage: Usage) -> Bool {
        let isRoot = isUnlimited || user == 0
        guard usage.process < (isRoot ? mostHeldWithRoot : mostOfProcess - reservedForRoot) else { return false }
        return isRoot || connections[user, default: 0] + usage.held + usage.closing < mostOfUser
    }

    /// The limit that one more file of a user exceeds, in bytes; nil when there is room. `bytes` counts the bytes of
    /// all files of the user with pages of this size, including that file. `isUnlimited` says whether the client is
    /// root, even if it acts as another user.
    func exceededMemory(
        of user: SessionUser, isUnlimited: Bool, _ bytes: UInt64, _ pageSize: PageSize, _ machine: MachineMemory
    ) -> UInt64? {
        guard !isUnlimited, user != 0,
            let most = memory.most(pageSize, isOpenToEverybody: isOpenToEverybody, machine)
        else { return nil }
        return bytes > most ? most : nil
    }

    /// Whether a user's next request waits until the descriptors of earlier requests are closed. It is not asked for
    /// root, which never waits. `pending` is the number of the user's descriptors that wait to be closed, and `process`
    /// the number of descriptors of the process.
    func mustWait(pending: Int, process: Int) -> Bool {
        pending >= (process < mostOfProcess - reservedForRoot ? Self.mostPending : Self.fewPending)
    }

    /// A user with at least this many descriptors that wait to be closed is not served.
    static let mostPending = 256
    /// The same limit while the process has only root's reserve left. It must not be smaller: the closes of all users
    /// take a while then, and a user with the usual few descriptors would wait for them before each request.
    private static let fewPending = 16

    /// Whether one more connection of a user may be held, within the limits or as one of ``leastConnections``.
    func hasRoomForConnection(of user: SessionUser, _ usage: Usage) -> Bool {
        if hasRoom(for: user, isUnlimited: false, usage) { return true }
        let hasReserve = usage.process < mostOfProcess - reservedForRoot
        return hasReserve && connections[user, default: 0] < Self.leastConnections
    }
}
