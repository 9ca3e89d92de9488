import LiveUpdate
import Platform
import SystemPackage

/// The descriptors that the keeper holds: one copy of every descriptor that must not be lost. The keeper knows only the
/// user of each, because a close may sleep and happens on that user's thread.
struct KeptTable: ~Copyable {
    /// Nil until the keeper has given up the rights that its threads must not have. No descriptor of a client is closed
    /// before.
    var closer: Closer?
    private var entries: [DescriptorSlot: (keep: Keep, descriptor: FileDescriptor)] = [:]
    private(set) var nextSlot: Int64 = 1

    mutating func keep(_ keep: Keep, _ descriptor: FileDescriptor) {
        let old = entries.updateValue((keep, descriptor), forKey: keep.slot)
        if let old { close(old.descriptor, of: old.keep.label.user) }
        nextSlot = max(nextSlot, keep.slot.number + 1)
    }

    /// Keeps something of the keeper's own.
    mutating func add(
        _ descriptor: consuming OwnedDescriptor, _ kind: DescriptorKind, _ label: KeepLabel = KeepLabel()
    ) {
        keep(Keep(slot: DescriptorSlot(nextSlot), kind: kind, label: label), descriptor.release())
    }

    mutating func release(_ slots: [DescriptorSlot]) {
        for slot in slots {
            if let gone = entries.removeValue(forKey: slot) { close(gone.descriptor, of: gone.keep.label.user) }
        }
    }

    /// Closes a descriptor that is in no slot.
    func close(_ descriptor: FileDescriptor, of user: UInt32) {
        if let closer { closer.close(descriptor, of: user) } else { try? closeDescriptor(descriptor) }
    }

    /// Whether only descriptors of luod itself are held: no client, no session, no file.
    var holdsOnlyState: Bool { entries.values.allSatisfy { $0.keep.kind.isOfState } }

    /// Closes the arena and the sockets that listen.
    ///
    /// - Parameter forAll: whether to end them also for their other holders. A killed process of luod with a thread that
    ///   waits for a file system would otherwise hold the lock, and let clients connect. False when a service manager
    ///   holds them, because they go on then.
    mutating func releaseState(forAll: Bool) {
        for entry in entries.values where entry.keep.kind.isOfState {
            if forAll { end(entry.keep, entry.descriptor) }
            // This process ends now, and a closing thread might be too late.
            try? closeDescriptor(entry.descriptor)
        }
        entries = entries.filter { !$0.value.keep.kind.isOfState }
    }

    private func end(_ keep: Keep, _ descriptor: FileDescriptor) {
        switch keep.kind {
        case .arena: try? descriptor.unlock()
        case .control: descriptor.shutDown()
        case .listener where !keep.label.traits.contains(.wasPassed): descriptor.shutDown()
        default: break
        }
    }

    /// The permissions of the clients' socket; nil without a socket. 0666 when the socket has no path, or none that is
    /// there any more: such a socket may be open to everybody.
    var clientSocketMode: FilePermissions? {
        guard let listener = entries.values.first(where: { $0.keep.kind == .listener })?.descriptor else { return nil }
        return listener.boundPath.flatMap { try? FileStatus(at: $0).permissions } ?? FilePermissions(rawValue: 0o666)
    }

    func entry(_ slot: DescriptorSlot) -> (keep: Keep, descriptor: FileDescriptor)? { entries[slot] }

    var count: Int { entries.count }

    mutating func startNumbering(at slot: Int64) { nextSlot = max(nextSlot, slot) }

    var all: [(keep: Keep, descriptor: FileDescriptor)] {
        entries.values.sorted { $0.keep.slot.number < $1.keep.slot.number }
    }
}
