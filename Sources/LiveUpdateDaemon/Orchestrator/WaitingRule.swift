// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Decides which connections are not served for a moment. Their requests stay in the sockets' queues.
///
/// 1. A user with many descriptors that wait to be closed waits for them (``Quota``). Otherwise the user's next
///    requests would accumulate descriptors without end while a close sleeps.
/// 2. A user with requests that ended too many orchestrators waits for a minute (``ReplyLedger``).
/// 3. A user with a session that is ending waits for that end (``LongWorkRunner``).
final class WaitingRule {
    private let store: DescriptorMirror
    private let connections: ConnectionTable
    private let longWork: LongWorkRunner
    private let ledger: ReplyLedger

    init(
        _ store: DescriptorMirror, _ connections: ConnectionTable, _ longWork: LongWorkRunner, _ ledger: ReplyLedger
    ) {
        self.store = store
        self.connections = connections
        self.longWork = longWork
        self.ledger = ledger
    }

    /// Whether the next request of a connection must wait.
    func mustWait(_ connection: Connection) -> Bool {
        longWork.makesWait(connection.user) || waitsForCloses(connection)
    }

    /// Whether a connection waits for the closes of its user's descriptors, or for the end of its user's pause.
    func waitsForCloses(_ connection: Connection) -> Bool {
        let isRoot = connection.user == 0 || connection.label.traits.contains(.isUnlimited)
        if !isRoot, ledger.mustPause(connection.user) { return true }
        let pending = isRoot ? 0 : store.pendingCloses(of: connection.user)
        return pending > 0 && connections.quota.mustWait(pending: pending, process: store.count)
    }
}
