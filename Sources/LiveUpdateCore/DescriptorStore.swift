// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
package import SystemPackage

/// The number in the journal that names a held descriptor.
package struct DescriptorSlot: Hashable, Sendable {
    /// The number. Only the store knows its meaning.
    package let number: Int64

    /// The slot of a descriptor that was lost with its last holder.
    package static let lost = DescriptorSlot(-1)

    /// Names a slot.
    package init(_ number: Int64) { self.number = number }
}

/// The store that holds the descriptors of preserved files, so that they are there in the next boot.
///
/// The core makes no system calls, and uses files only through this store.
package protocol DescriptorStore: Sendable {
    /// The identity of the descriptor's file.
    ///
    /// - Throws: EBADF when the descriptor is not open.
    func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity

    /// Identifies the file of a descriptor that a client wants held, as ``identify(_:)`` does. Optional.
    ///
    /// - Throws: EBADF when the descriptor is not open, or when the store holds no descriptor of its kind.
    func admit(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity

    /// Holds a copy of a descriptor.
    ///
    /// - Throws: EBADF, EMFILE.
    func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot

    /// Holds a copy of a descriptor for a user, as ``keep(_:)`` does. Optional, for a store that limits users.
    ///
    /// - Throws: EBADF, EMFILE.
    func keep(_ descriptor: FileDescriptor, for user: SessionUser) throws(LiveUpdateError) -> DescriptorSlot

    /// Holds a copy of a descriptor of a file that was identified before, as ``keep(_:for:)`` does. Optional: the
    /// default checks that the copy is of the same file. A store needs no check if no other thread closes the
    /// descriptors.
    ///
    /// - Throws: as ``keep(_:for:)``; EBADF also when another thread has closed the descriptor and its number is now
    ///   another file's.
    func keep(
        _ descriptor: FileDescriptor, of file: FileIdentity, for user: SessionUser
    ) throws(LiveUpdateError) -> DescriptorSlot

    /// The held descriptor; nil when it was lost with its last holder. The caller does not close it.
    func descriptor(in slot: DescriptorSlot) -> FileDescriptor?

    /// This process's slot for a slot that another process has recorded in the state. Only a store that gives a
    /// descriptor another slot in each process must implement this.
    func ownSlot(of slot: DescriptorSlot) -> DescriptorSlot

    /// The present identity of a held file if its carrier has changed the identity; nil for all other files. Optional:
    /// nil.
    func newIdentity(of slot: DescriptorSlot) -> FileIdentity?

    /// Returns a new descriptor of the held open file description. A store need not implement this.
    ///
    /// - Throws: EBADF when the descriptor was lost, EMFILE.
    func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> OwnedDescriptor

    /// Closes the held copy.
    func release(_ slot: DescriptorSlot)
}

extension DescriptorStore {
    package func admit(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        try identify(descriptor)
    }

    package func keep(_ descriptor: FileDescriptor, for user: SessionUser) throws(LiveUpdateError) -> DescriptorSlot {
        try keep(descriptor)
    }

    package func keep(
        _ descriptor: FileDescriptor, of file: FileIdentity, for user: SessionUser
    ) throws(LiveUpdateError) -> DescriptorSlot {
        let slot = try keep(descriptor, for: user)
        do throws(LiveUpdateError) {
            guard let kept = self.descriptor(in: slot), try identify(kept) == file else {
                throw LiveUpdateError(
                    .badFileDescriptor, "the descriptor became another file while it was preserved",
                    remedy: "do not close a descriptor that is being preserved")
            }
            return slot
        } catch {
            release(slot)
            throw error
        }
    }

    package func ownSlot(of slot: DescriptorSlot) -> DescriptorSlot { slot }

    package func newIdentity(of slot: DescriptorSlot) -> FileIdentity? { nil }

    package func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> OwnedDescriptor {
        guard let held = descriptor(in: slot) else {
            throw LiveUpdateError(
                .badFileDescriptor, "slot \(slot.number) holds no descriptor",
                remedy: "the file was lost with its last holder: make it again")
        }
        do {
            return try held.duplicated()
        } catch {
            throw LiveUpdateError(error, "duplicating the descriptor in slot \(slot.number)")
        }
    }
}
