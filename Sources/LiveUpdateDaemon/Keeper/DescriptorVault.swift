// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The descriptors that the keeper holds: one copy of every descriptor that must not be lost. The keeper knows only the
/// user of each, because a close may sleep and must happen on that user's thread.
final class DescriptorVault {
    /// The closer; nil until ``closeBy(_:)``.
    private var closer: Closer?
    private var unclosed: [(descriptor: FileDescriptor, user: UInt32)] = []
    private var entries: [DescriptorSlot: (held: HeldSlot, descriptor: FileDescriptor)] = [:]
    /// One more than the highest slot that was used.
    private(set) var nextSlot: Int64 = 1

    /// Lets the closer's threads close the waiting descriptors, and all descriptors that are released from now on. Call
    /// this after the keeper has given up the rights that its threads must not have.
    func closeBy(_ closer: Closer) {
        for (descriptor, user) in unclosed { closer.close(descriptor, of: user) }
        unclosed = []
        self.closer = closer
    }

    /// Puts a descriptor into its slot, and closes the descriptor that was there.
    func keep(_ held: HeldSlot, _ descriptor: FileDescriptor) {
        let old = entries.updateValue((held, descriptor), forKey: held.slot)
        if let old { close(old.held, old.descriptor) }
        nextSlot = max(nextSlot, held.slot.number + 1)
    }

    /// Holds a descriptor of the keeper's own, in a new slot.
    func add(
        _ descriptor: consuming OwnedDescriptor, _ kind: DescriptorKind, _ label: DescriptorLabel = DescriptorLabel()
    ) {
        keep(HeldSlot(slot: DescriptorSlot(nextSlot), kind: kind, label: label), descriptor.release())
    }

    /// - Returns: the users of the closed descriptors.
    @discardableResult
    func release(_ slots: [DescriptorSlot]) -> Set<UInt32> {
        var users: Set<UInt32> = []
        for slot in slots {
            guard let gone = entries.removeValue(forKey: slot) else { continue }
            close(gone.held, gone.descriptor)
            users.insert(gone.held.label.user)
        }
        return users
    }

    private func close(_ held: HeldSlot, _ descriptor: FileDescriptor) {
        guard let closer else { return close(descriptor, of: held.label.user) }
        if held.kind.isOwnSocket {
            closer.close(ownSocket: descriptor, of: held.label.user)
        } else {
            closer.close(held: descriptor, of: held.label.user)
        }
    }

    /// Closes a descriptor that is in no slot.
    func close(_ descriptor: FileDescriptor, of user: UInt32) {
        if let closer { closer.close(descriptor, of: user) } else { unclosed.append((descriptor, user)) }
    }

    /// Whether only descriptors of luod itself are held: no client, no session, no file.
    var holdsOnlyState: Bool { entries.values.allSatisfy { $0.held.kind.isOfState } }

    /// Releases the lock on the arena and shuts down the listening sockets, for all processes that hold them. Otherwise
    /// a dead process of luod would keep the lock and accept connections while one of its threads waits for a file
    /// system.
    ///
    /// This closes nothing. The close of a listener also closes the connections that wait to be accepted, and
    /// everything that clients have sent on them, so a client can delay it for any time. The end of the process closes
    /// it without waiting.
    func endState() {
        for (held, descriptor) in entries.values {
            switch held.kind {
            case .arena: try? descriptor.unlock()
            case .control, .rootListener: descriptor.shutDown()
            case .listener where !held.label.traits.contains(.wasPassed): descriptor.shutDown()
            default: break
            }
        }
    }

    /// The permissions of the clients' socket; nil without a socket. 0666 when the socket has no path, or when its path
    /// no longer exists: such a socket may be open to all users.
    var clientSocketMode: FilePermissions? {
        guard let listener = entries.values.first(where: { $0.held.kind == .listener })?.descriptor else { return nil }
        return listener.boundPath.flatMap { try? FileStatus(at: $0).permissions } ?? FilePermissions(rawValue: 0o666)
    }

    /// The descriptor of a kind, for kinds with only one descriptor.
    func descriptor(_ kind: DescriptorKind) -> FileDescriptor? {
        entries.values.first { $0.held.kind == kind }?.descriptor
    }

    /// The listeners of the programs that run under a filter.
    var programs: [(held: HeldSlot, descriptor: FileDescriptor)] { all.filter { $0.held.kind == .program } }

    func entry(_ slot: DescriptorSlot) -> (held: HeldSlot, descriptor: FileDescriptor)? { entries[slot] }

    var count: Int { entries.count }

    /// The number of descriptors that wait to be closed.
    var closing: Int { unclosed.count + (closer?.pending ?? 0) }

    /// The number of a user's descriptors that wait to be closed.
    func closing(of user: UInt32) -> Int { closer?.pending(of: user) ?? 0 }

    func startNumbering(at slot: Int64) { nextSlot = max(nextSlot, slot) }

    /// Skips numbers of slots that the journal may name although this table lacks them.
    func skipSlots() { nextSlot += 1 << 20 }

    var all: [(held: HeldSlot, descriptor: FileDescriptor)] {
        entries.values.sorted { $0.held.slot.number < $1.held.slot.number }
    }
}
