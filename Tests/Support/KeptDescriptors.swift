// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
package import LiveUpdateCore
package import LiveUpdatePlatform
package import SystemPackage

/// The descriptors that are held over a test's boots. The store lists them, and releases them when it ends.
package final class KeptDescriptors: DescriptorStore {
    private struct State: Sendable {
        var held: Set<DescriptorSlot> = []
        var isFrozen = false
    }

    private let store = InheritedDescriptors()
    private let state = Guarded(State())

    /// Makes a store without descriptors.
    package init() {}

    deinit { for slot in state.with({ $0.held }) { store.release(slot) } }

    /// The slots of the held descriptors.
    package var held: Set<DescriptorSlot> { state.with { $0.held } }

    /// From now on no descriptor is released, because the releasing process counts as dead.
    package func freeze() { state.with { $0.isFrozen = true } }

    package func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        try store.identify(descriptor)
    }

    package func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        let slot = try store.keep(descriptor)
        state.with { _ = $0.held.insert(slot) }
        return slot
    }

    package func descriptor(in slot: DescriptorSlot) -> FileDescriptor? {
        state.with { $0.held.contains(slot) } ? store.descriptor(in: slot) : nil
    }

    package func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> OwnedDescriptor {
        try store.duplicate(slot)
    }

    package func release(_ slot: DescriptorSlot) {
        let isOurs = state.with { state in !state.isFrozen && state.held.remove(slot) != nil }
        if isOurs { store.release(slot) }
    }
}
