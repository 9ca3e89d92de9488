import LiveUpdate
import Platform
import SystemPackage

/// Connections that are not served for a moment: the request stays in the socket's queue.
///
/// 1. A user with many descriptors that wait to be closed waits for them (``Quota``). Otherwise a close that sleeps would let the
///    user's next requests pile up descriptors without end.
/// 2. A user whose requests ended too many orchestrators waits for a minute (``ReplyLedger``).
/// 3. A message that this process has no room for, or an answer that the system cannot send just now, is tried again.
extension Server {
    /// In milliseconds: how long the loop sleeps at most while connections are postponed.
    static let postponement: CInt = 5

    func mustWait(_ connection: Connection) -> Bool {
        longWork.makesWait(connection.user) || waitsForCloses(connection)
    }

    /// Whether a connection waits for the closes of its user's descriptors.
    func waitsForCloses(_ connection: Connection) -> Bool {
        let isRoot = connection.user == 0 || connection.label.traits.contains(.isUnlimited)
        if !isRoot, ledger.mustPause(connection.user) { return true }
        let pending = isRoot ? 0 : store.pendingCloses(of: connection.user)
        return pending > 0 && connections.quota.mustWait(pending: pending, process: store.count)
    }

    /// Serves postponed connections again, as far as they need not wait any more.
    func resumePostponed() {
        guard connections.hasPostponed else { return }
        for connection in connections.takePostponed() {
            if connection.hasEnded {
                work.noteEnd(of: connection)
            } else if mustWait(connection) {
                connections.postpone(connection)
            } else if connection.unsent != nil {
                replies.sendRest(to: connection)
            } else {
                work.change(connection.descriptor, to: .reading)
            }
        }
    }
}
