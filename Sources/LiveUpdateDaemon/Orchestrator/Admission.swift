// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The limits for one request, as they were when it began. Any thread can check them.
struct Admission: Sendable {
    /// The user to charge.
    var user: SessionUser
    /// Whether the client is root acting as the user. The user's limits do not apply then.
    var isUnlimited: Bool
    var quota: Quota
    /// Connections that were accepted and are not held yet.
    var accepted: Int
    var kernel: EmulatedKernel?
    var store: DescriptorMirror
    var orchestrator: Orchestrator

    /// Checks that one more descriptor may be held.
    ///
    /// - Throws: EMFILE.
    func checkDescriptors() throws(LiveUpdateError) {
        guard !quota.hasRoom(for: user, isUnlimited: isUnlimited, usage) else { return }
        throw LiveUpdateError(
            .tooManyOpenFiles, "luod holds as many descriptors as it may, for user \(user) or at all",
            remedy:
                "close connections, finish sessions, or start luod with a larger --max-user-descriptors or --max-descriptors"
        )
    }

    /// Checks that the memory of one more file may be held.
    ///
    /// - Throws: EDQUOT.
    func checkMemory(_ descriptor: FileDescriptor) throws(LiveUpdateError) {
        guard store.measuresMemory, user != 0, !isUnlimited, let use = MemoryUse(of: descriptor) else { return }
        let bytes = store.memory(of: user, with: use)
        // The pools may have changed, so each check reads them again.
        let most = quota.exceededMemory(
            of: user, isUnlimited: isUnlimited, bytes, use.pageSize, .now(for: use.pageSize, quota))
        guard let most else { return }
        let isHuge = use.pageSize != .base
        throw LiveUpdateError(
            .diskQuotaExceeded,
            "the files of user \(user) would have \(bytes) bytes of memory\(isHuge ? " in huge pages of \(use.pageSize)" : ""), "
                + "and may have \(most)",
            remedy: "finish or unpreserve some of them, or start luod with a larger "
                + (isHuge ? "--max-user-huge-pages" : "--max-user-memory"))
    }

    private var usage: Quota.Usage { Quota.Usage(of: user, store, orchestrator, accepted: accepted) }

    /// Checks that the emulated kernel has room for another file.
    ///
    /// - Throws: ENOSPC.
    func checkFilesOfKernel(_ session: Session) throws(LiveUpdateError) {
        guard let most = kernel?.mostFiles, session.tokens.count >= most else { return }
        throw LiveUpdateError(.noSpace, "a session of the emulated kernel has room for \(most) files")
    }

    /// - Throws: ELOOP for a socket of luod's own.
    func refuseOwnSocket(_ descriptor: FileDescriptor) throws(LiveUpdateError) {
        guard store.isOwnSocket(descriptor) else { return }
        throw LiveUpdateError(
            .tooManySymbolicLinkLevels, "the descriptor is a socket of luod's own",
            remedy: "pass another descriptor: a session that holds a session would never end")
    }
}

extension Quota.Usage {
    /// The counts of a user that ``Quota`` does not know itself. `accepted` is the number of connections that were
    /// accepted and are not held yet.
    init(of user: SessionUser, _ store: DescriptorMirror, _ orchestrator: Orchestrator, accepted: Int) {
        let held = orchestrator.usage(of: user)
        self.init(
            process: store.count + accepted, held: held.sessions + held.files, closing: store.closing(of: user))
    }
}

/// Makes the limits for each request, from the current counts.
final class Admissions {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let acceptor: Acceptor
    private let kernel: EmulatedKernel?

    /// Makes the admissions of an orchestrator. `kernel` is ``Settings/kernel``.
    init(
        _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ connections: ConnectionTable, _ acceptor: Acceptor,
        _ kernel: EmulatedKernel?
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.connections = connections
        self.acceptor = acceptor
        self.kernel = kernel
    }

    /// The limits for a client that acts as a user.
    func admission(of user: SessionUser, _ connection: Connection) -> Admission {
        Admission(
            user: user, isUnlimited: connection.label.traits.contains(.isUnlimited), quota: connections.quota,
            accepted: acceptor.count, kernel: kernel, store: store, orchestrator: orchestrator)
    }

    /// The memory of a user's files and its limits, for the status; with nil, of the users with the most memory. There
    /// are at most 32 lines. The values are those that were read last.
    func memory(of user: SessionUser?) -> [LuodStatus.Memory] {
        let quota = connections.quota
        let all = store.memory.flatMap { user, sizes in
            sizes.map { (user: user, pageSize: $0.key, bytes: $0.value) }
        }
        let some = all.filter { user == nil || $0.user == user }
            .sorted { ($0.bytes, $1.user) > ($1.bytes, $0.user) }.prefix(32)
        // The pools of the machine are read once for each page size, not once for each user.
        let limits = Dictionary(
            Set(some.map(\.pageSize)).map { size in
                let machine = MachineMemory.now(for: size, quota)
                return (size, quota.memory.most(size, isOpenToEverybody: quota.isOpenToEverybody, machine))
            }, uniquingKeysWith: { first, _ in first })
        return some.map { one in
            LuodStatus.Memory(
                user: one.user, pageSize: one.pageSize.bytes, bytes: one.bytes,
                limit: one.user == 0 ? nil : limits[one.pageSize] ?? nil)
        }
    }

    /// Checks that one more descriptor may be held for a client.
    ///
    /// - Throws: EMFILE.
    func checkDescriptors(of client: Client) throws(LiveUpdateError) {
        try admission(of: client.user, client.connection).checkDescriptors()
    }

    /// Checks that the emulated kernel has room for another session.
    ///
    /// - Throws: ENOMEM.
    func checkSessionsOfKernel() throws(LiveUpdateError) {
        guard let most = kernel?.mostSessions else { return }
        let count = try orchestrator.status().sessions.count { $0.direction == .outgoing }
        guard count >= most else { return }
        throw LiveUpdateError(.noMemory, "the emulated kernel has room for \(most) sessions")
    }
}
