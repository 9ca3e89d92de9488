import LiveUpdate
import Platform

/// The limits on descriptors, for each user and for the whole process: a decision without I/O.
///
/// A session, a file, a connection, an opened device, a program's listener and a descriptor that waits to be closed
/// count one each.
struct Quota: Sendable {
    /// How many descriptors the process may hold. The rest of RLIMIT_NOFILE is for descriptors that come with messages.
    let mostOfProcess: Int
    /// How many descriptors luod holds for each user but root.
    let mostOfUser: Int
    /// The memory that the files of each user but root may have.
    let memory: MemoryLimits
    /// Whether every user can connect, which gives the memory its default limits.
    let isOpenToEverybody: Bool
    /// Connections, devices, listeners and sessions of ended boots, by user: the core counts sessions and files.
    private var connections: [SessionOwner: Int] = [:]

    /// How many of the last descriptors only root may use: to look, stop, update and remove. At most 32.
    let reservedForRoot: Int
    /// How many descriptors the process may have with connections that are refused, and closed at once.
    var mostWithRefused: Int { mostOfProcess + reservedForRoot / 2 }
    /// How many descriptors the process may have with the connections of root and luod's own user on their own socket.
    /// Connections of others, and closes of others that are stuck, do not get so far.
    var mostWithRoot: Int { mostWithRefused + reservedForRoot / 2 }
    /// How many descriptors the process may have with the sessions and files of root. Refused connections leave room
    /// for them, and they leave room for root's connections.
    private var mostHeldWithRoot: Int { mostWithRefused + reservedForRoot / 4 }
    /// How many connections a user always has, to be able to release something.
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

    /// Counts that the quota does not have itself.
    struct Usage {
        /// How many descriptors the process holds.
        var process: Int
        /// How many sessions and files the user has.
        var held: Int
        /// How many descriptors of the user wait to be closed.
        var closing: Int
    }

    mutating func add(to user: SessionOwner) { connections[user, default: 0] += 1 }

    mutating func remove(from user: SessionOwner) {
        let left = connections[user, default: 1] - 1
        connections[user] = left == 0 ? nil : left
    }

    /// Whether one more descriptor may be held for a user.
    ///
    /// - Parameter isUnlimited: whether the client is root, also when it acts as another user.
    func hasRoom(for user: SessionOwner, isUnlimited: Bool, _ usage: Usage) -> Bool {
        let isRoot = isUnlimited || user == 0
        guard usage.process < (isRoot ? mostHeldWithRoot : mostOfProcess - reservedForRoot) else { return false }
        return isRoot || connections[user, default: 0] + usage.held + usage.closing < mostOfUser
    }

    /// The limit that one more file of a user exceeds, in bytes; nil when there is room.
    ///
    /// - Parameters:
    ///   - isUnlimited: whether the client is root, also when it acts as another user.
    ///   - bytes: the bytes of all files of the user with pages of this size, with that file.
    func exceededMemory(
        of user: SessionOwner, isUnlimited: Bool, _ bytes: UInt64, _ pageSize: PageSize, _ machine: MachineMemory
    ) -> UInt64? {
        guard !isUnlimited, user != 0,
            let most = memory.most(pageSize, isOpenToEverybody: isOpenToEverybody, machine)
        else { return nil }
        return bytes > most ? most : nil
    }

    /// Whether a user's next request waits until descriptors that came with earlier ones are closed. Not for root.
    ///
    /// - Parameters:
    ///   - pending: descriptors of the user that wait to be closed.
    ///   - process: descriptors of the process.
    func mustWait(pending: Int, process: Int) -> Bool {
        pending >= (process < mostOfProcess - reservedForRoot ? Self.mostPending : Self.fewPending)
    }

    /// A user with so many descriptors that wait to be closed sends no more.
    static let mostPending = 256
    /// The same, while the process has no more descriptors than root's reserve. Not less: the closes of all users take a
    /// while then, and a user with the usual few would wait for them before each request.
    private static let fewPending = 16

    /// Whether one more connection of a user may be held, within the limits or as one of ``leastConnections``.
    func hasRoomForConnection(of user: SessionOwner, _ usage: Usage) -> Bool {
        if hasRoom(for: user, isUnlimited: false, usage) { return true }
        let hasReserve = usage.process < mostOfProcess - reservedForRoot
        return hasReserve && connections[user, default: 0] < Self.leastConnections
    }
}
