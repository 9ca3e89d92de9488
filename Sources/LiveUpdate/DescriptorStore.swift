package import Platform
package import SystemPackage

/// The place of a kept descriptor, as the journal writes it.
package struct DescriptorSlot: Hashable, Sendable {
    /// Its number: what it means is the store's business.
    package let number: Int64

    /// The place of a descriptor that was lost with its last holder.
    package static let lost = DescriptorSlot(-1)

    /// Names a place.
    package init(_ number: Int64) { self.number = number }
}

/// Who holds the descriptors of preserved files, so that they are there in the next boot.
///
/// The core makes no system calls; this is where its files are.
package protocol DescriptorStore: Sendable {
    /// What makes the descriptor's file one and the same.
    ///
    /// - Throws: EBADF when it is not open.
    func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity

    /// Identifies the file of a descriptor that a client wants held, as ``identify(_:)`` does. Optional.
    ///
    /// - Throws: EBADF when the descriptor is not open, or when the store holds no descriptor of its kind.
    func admit(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity

    /// Keeps a copy of a descriptor.
    ///
    /// - Throws: EBADF, EMFILE.
    func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot

    /// Keeps a copy of a descriptor for a user, as ``keep(_:)`` does. Optional, for a store that limits users.
    ///
    /// - Throws: EBADF, EMFILE.
    func keep(_ descriptor: FileDescriptor, for owner: SessionOwner) throws(LiveUpdateError) -> DescriptorSlot

    /// Keeps a copy of a descriptor of a file that was identified before, as ``keep(_:for:)`` does. Optional, for a
    /// store whose descriptors no other thread closes.
    ///
    /// - Throws: EBADF also when another thread has closed the descriptor, and its number is another file's now.
    func keep(
        _ descriptor: FileDescriptor, of file: FileIdentity, for owner: SessionOwner
    ) throws(LiveUpdateError) -> DescriptorSlot

    /// The kept descriptor, to be used but not closed; nil when it was lost with its last holder.
    func descriptor(in slot: DescriptorSlot) -> FileDescriptor?

    /// A new descriptor of the kept open file description, for the caller to close.
    ///
    /// - Throws: EBADF when it was lost, EMFILE.
    func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> FileDescriptor

    /// Closes the kept copy.
    func release(_ slot: DescriptorSlot)
}

extension DescriptorStore {
    package func admit(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        try identify(descriptor)
    }

    package func keep(_ descriptor: FileDescriptor, for owner: SessionOwner) throws(LiveUpdateError) -> DescriptorSlot {
        try keep(descriptor)
    }

    package func keep(
        _ descriptor: FileDescriptor, of file: FileIdentity, for owner: SessionOwner
    ) throws(LiveUpdateError) -> DescriptorSlot {
        let slot = try keep(descriptor, for: owner)
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
}
