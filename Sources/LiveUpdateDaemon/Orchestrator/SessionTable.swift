import LiveUpdate
import SystemPackage

/// The sessions that no client holds, and the clients' descriptors of sessions that were not sent yet. It does no I/O.
///
/// A session that a client holds is the peer of that client's ``Connection``, and is not here.
final class SessionTable {
    private var detached: [UInt64: Session] = [:]
    private var unsent: [DescriptorSlot: FileDescriptor] = [:]

    // MARK: Detached sessions

    /// Adds a detached session that no client holds.
    func addDetached(_ session: Session) { detached[session.number] = session }

    /// Removes a session that a client holds now, or that has ended.
    func removeDetached(_ session: Session) { detached[session.number] = nil }

    /// The detached session that the status describes; nil when a client holds it.
    func detached(_ known: Status.Session) -> Session? { detached.values.first { $0.isSame(as: known) } }

    // MARK: Descriptors that were not sent

    /// Adds the client's descriptor of a session, which is sent with the answer to the request in a connection's queue.
    func addUnsent(_ descriptor: FileDescriptor, for connection: DescriptorSlot) { unsent[connection] = descriptor }

    /// Takes the descriptor for a connection. The caller owns it.
    ///
    /// - Returns: nil when there is none.
    func takeUnsent(for connection: DescriptorSlot) -> FileDescriptor? { unsent.removeValue(forKey: connection) }
}

extension Session {
    /// Whether the status describes this session.
    func isSame(as known: Status.Session) -> Bool {
        name == known.name && direction == known.direction && holder.owner == known.holder.owner
    }
}
