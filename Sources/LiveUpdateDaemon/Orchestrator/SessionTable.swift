// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage

/// The sessions that no client holds, and the clients' descriptors of unsent sessions. It does no I/O.
///
/// A session that a client holds is not here: it is the peer of that client's ``Connection``.
final class SessionTable {
    private var detached: [UInt64: Session] = [:]
    private var unsent: [DescriptorSlot: FileDescriptor] = [:]

    // MARK: Detached sessions

    /// Adds a detached session that no client holds.
    func addDetached(_ session: Session) { detached[session.number] = session }

    /// Removes a session that a client holds now or that has ended.
    func removeDetached(_ session: Session) { detached[session.number] = nil }

    /// The detached session that the status describes; nil when a client holds it.
    func detached(_ known: Status.Session) -> Session? { detached.values.first { $0.isSame(as: known) } }

    // MARK: Unsent descriptors

    /// Adds the client's descriptor of a session. It is sent with the answer to the request in a connection's queue.
    func addUnsent(_ descriptor: FileDescriptor, for connection: DescriptorSlot) { unsent[connection] = descriptor }

    /// Returns the descriptor for a connection, and forgets it. The caller owns it.
    ///
    /// - Returns: nil when there is none.
    func takeUnsent(for connection: DescriptorSlot) -> FileDescriptor? { unsent.removeValue(forKey: connection) }
}

extension Session {
    /// Whether the status describes this session.
    func isSame(as known: Status.Session) -> Bool {
        name == known.name && direction == known.direction && holder.user == known.holder.user
    }
}
