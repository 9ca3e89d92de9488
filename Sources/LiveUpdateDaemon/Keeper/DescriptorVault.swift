import LiveUpdate
import Platform
import SystemPackage

/// The descriptors that the keeper holds: one copy of every descriptor that must not be lost. The keeper knows only the
/// user of each, because a close may sleep and happens on that user's thread.
final class DescriptorVault {
    /// Nil until ``closeBy(_:)``.
    private var closer: Closer?
    private var unclosed: [(descriptor: FileDescriptor, user: UInt32)] = []
    private var entries: [DescriptorSlot: (keep: Keep, descriptor: FileDescriptor)] = [:]
    /// The slot after the highest one that was used.
    private(set) var nextSlot: Int64 = 1

    /// Has threads close the descriptors that wait to be closed, and those that are released from now on. Call this
    /// once the keeper has given up the rights that its threads must not have.
    func closeBy(_ closer: Closer) {
        for (descriptor, user) in unclosed { closer.close(descriptor, of: user) }
        unclosed = []
        self.closer = closer
    }

    /// Puts a descriptor into its slot. The one that is there is closed.
    func keep(_ keep: Keep, _ descriptor: FileDescriptor) {
        let old = entries.updateValue((keep, descriptor), forKey: keep.slot)
        if let old { close(old.keep, old.descriptor) }
        nextSlot = max(nextSlot, keep.slot.number + 1)
    }

    /// Keeps something of the keeper's own.
    func add(
        _ descriptor: consuming OwnedDescriptor, _ kind: DescriptorKind, _ label: KeepLabel = KeepLabel()
    ) {
        keep(Keep(slot: DescriptorSlot(nextSlot), kind: kind, label: label), descriptor.release())
    }

    /// - Returns: the users whose descriptors are closed.
    @discardableResult
    func release(_ slots: [DescriptorSlot]) -> Set<UInt32> {
        var users: Set<UInt32> = []
        for slot in slots {
            guard let gone = entries.removeValue(forKey: slot) else { continue }
            close(gone.keep, gone.descriptor)
            users.insert(gone.keep.label.user)
        }
        return users
    }

    private func close(_ keep: Keep, _ descriptor: FileDescriptor) {
        guard let closer else { return close(descriptor, of: keep.label.user) }
        if keep.kind.isOwnSocket {
            closer.close(ownSocket: descriptor, of: keep.label.user)
        } else {
            closer.close(held: descriptor, of: keep.label.user)
        }
    }

    /// Closes a descriptor that is in no slot, or in none any more.
    func close(_ descriptor: FileDescriptor, of user: UInt32) {
        if let closer { closer.close(descriptor, of: user) } else { unclosed.append((descriptor, user)) }
    }

    /// Whether only descriptors of luod itself are held: no client, no session, no file.
    var holdsOnlyState: Bool { entries.values.allSatisfy { $0.keep.kind.isOfState } }

    /// Ends the lock on the arena and the listening sockets for all processes that hold them: a process of luod that is
    /// dead, and not gone while a thread of it waits for a file system, would keep the lock, and have clients connect.
    ///
    /// It closes nothing. Clients that wait to be accepted may have sent anything, and the close of a listener closes
    /// that, too, for as long as a client likes. The end of the process closes it without waiting.
    func endState() {
        for (keep, descriptor) in entries.values {
            switch keep.kind {
            case .arena: try? descriptor.unlock()
            case .control, .rootListener: descriptor.shutDown()
            case .listener where !keep.label.traits.contains(.wasPassed): descriptor.shutDown()
            default: break
            }
        }
    }

    /// The permissions of the clients' socket; nil without a socket. 0666 when the socket has no path, or none that is
    /// there any more: such a socket may be open to everybody.
    var clientSocketMode: FilePermissions? {
        guard let listener = entries.values.first(where: { $0.keep.kind == .listener })?.descriptor else { return nil }
        return listener.boundPath.flatMap { try? FileStatus(at: $0).permissions } ?? FilePermissions(rawValue: 0o666)
    }

    /// The descriptor of a kind of which there is one.
    func descriptor(_ kind: DescriptorKind) -> FileDescriptor? {
        entries.values.first { $0.keep.kind == kind }?.descriptor
    }

    /// The programs that run under a filter.
    var programs: [(keep: Keep, descriptor: FileDescriptor)] { all.filter { $0.keep.kind == .program } }

    func entry(_ slot: DescriptorSlot) -> (keep: Keep, descriptor: FileDescriptor)? { entries[slot] }

    var count: Int { entries.count }

    /// Descriptors that wait to be closed.
    var closing: Int { unclosed.count + (closer?.pending ?? 0) }

    /// Descriptors of a user that wait to be closed.
    func closing(of user: UInt32) -> Int { closer?.pending(of: user) ?? 0 }

    func startNumbering(at slot: Int64) { nextSlot = max(nextSlot, slot) }

    var all: [(keep: Keep, descriptor: FileDescriptor)] {
        entries.values.sorted { $0.keep.slot.number < $1.keep.slot.number }
    }
}
