// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
package import LiveUpdatePlatform
package import SystemPackage

/// Holds descriptors in the process itself. The next image inherits them over execve(2), which changes no number, so a
/// slot is the number of the held copy.
///
/// In a hand-over the next image runs beside this process, and gets copies with other numbers. The old process notes
/// which slots the image has, and the image notes which of its numbers stands for which slot.
package final class InheritedDescriptors: DescriptorStore {
    /// The lowest number of a held copy. Programs like to reuse the lower numbers.
    private static let lowest: CInt = 64

    /// The slots that the next image has as they are now; nil while no image is started.
    private let sent = Guarded<Set<DescriptorSlot>?>(nil)
    private let received = Guarded(Received())

    /// The descriptors that the old process has sent.
    private struct Received {
        /// This process's slot for each slot of the old process.
        var own: [DescriptorSlot: DescriptorSlot] = [:]
        /// All slots of this process for received descriptors.
        var all: [DescriptorSlot] = []
    }

    /// Makes a store that holds nothing.
    package init() {}

    package func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        do {
            return try FileStatus(of: descriptor).identity
        } catch {
            throw LiveUpdateError(error, "descriptor \(descriptor.rawValue)")
        }
    }

    package func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        do {
            let slot = try Self.copy(descriptor)
            sent.with { _ = $0?.remove(slot) }
            return slot
        } catch {
            throw LiveUpdateError(error, "keeping descriptor \(descriptor.rawValue)")
        }
    }

    private static func copy(_ descriptor: FileDescriptor) throws(SystemCallError) -> DescriptorSlot {
        do throws(SystemCallError) {
            return DescriptorSlot(Int64(try descriptor.duplicated(from: lowest).release().rawValue))
        } catch {
            // With a limit that is no higher than `lowest`, fcntl(2) returns EINVAL.
            guard error.errno == .invalidArgument else { throw error }
            throw SystemCallError(error.call, .tooManyOpenFiles)
        }
    }

    package func descriptor(in slot: DescriptorSlot) -> FileDescriptor? {
        guard let number = CInt(exactly: slot.number), number >= 0 else { return nil }
        return FileDescriptor(rawValue: number)
    }

    package func release(_ slot: DescriptorSlot) {
        // The number may stand for another file as soon as the descriptor is closed.
        sent.with { _ = $0?.remove(slot) }
        // The descriptor is closed even when close(2) returns an error.
        if let kept = descriptor(in: slot) { try? closeDescriptor(kept) }
    }

    package func ownSlot(of slot: DescriptorSlot) -> DescriptorSlot {
        received.with { $0.own[slot] ?? slot }
    }

    // MARK: The old process of a hand-over

    /// Begins to note the slots that the next image has. It has none yet.
    func beginSending() { sent.with { $0 = [] } }

    /// Ends the notes about the next image, because there is no next image any more.
    func endSending() { sent.with { $0 = nil } }

    /// Returns the slots among these that the next image lacks, and notes them as sent. If a slot is released and used
    /// again before the caller has sent it, it may be sent twice. No slot is left out.
    func takeUnsent(_ slots: [DescriptorSlot]) -> [DescriptorSlot] {
        sent.with { sent in slots.filter { $0 != .lost && sent?.insert($0).inserted == true } }
    }

    // MARK: The next image of a hand-over

    /// Holds descriptors that the old process has sent, and closes the received ones.
    ///
    /// - Throws: EMFILE.
    func receive(_ slots: [DescriptorSlot], _ descriptors: [FileDescriptor]) throws(SystemCallError) {
        var rest = descriptors[...]
        defer { for descriptor in rest { try? closeDescriptor(descriptor) } }
        for (slot, descriptor) in zip(slots, descriptors) {
            let own = try Self.copy(descriptor)
            // It is closed at once, so that few descriptors count twice against RLIMIT_NOFILE.
            rest.removeFirst()
            try? closeDescriptor(descriptor)
            received.with { received in
                received.own[slot] = own
                received.all.append(own)
            }
        }
    }

    /// Ends the hand-over, when the state names this process's slots. Closes the received descriptors that the state
    /// does not name.
    ///
    /// - Parameter slots: the slots that the state names.
    func endReceiving(inUse slots: [DescriptorSlot]) {
        let all = received.with { received in
            defer { received = Received() }
            return received.all
        }
        for slot in Set(all).subtracting(slots) { release(slot) }
    }
}
