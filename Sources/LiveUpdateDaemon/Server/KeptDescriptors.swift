import LiveUpdate
import Platform
import SystemPackage

/// The orchestrator's copies of what the keeper keeps. A descriptor is given to the keeper before the journal names its
/// slot, and let go of after the answer was sent, so that a successor always finds what the journal names.
///
/// Slots are numbers that are never used twice.
final class KeptDescriptors: DescriptorStore {
    private let state = Guarded(State())

    private struct State: Sendable {
        private(set) var entries: [DescriptorSlot: Entry] = [:]
        /// What there is of each kind: mostly few, beside many files.
        private(set) var slots: [DescriptorKind: Set<DescriptorSlot>] = [:]
        var nextSlot: Int64 = 1
        var keeper: ControlLink?
        var deafness: SystemCallError?
        /// What the request that is being done has let go of.
        var released: [DescriptorSlot] = []

        mutating func add(_ entry: Entry, _ slot: DescriptorSlot) {
            entries[slot] = entry
            slots[entry.kind, default: []].insert(slot)
        }

        mutating func remove(_ slot: DescriptorSlot) -> Entry? {
            guard let entry = entries.removeValue(forKey: slot) else { return nil }
            slots[entry.kind]?.remove(slot)
            return entry
        }
    }

    struct Entry: Sendable {
        var descriptor: FileDescriptor
        var kind: DescriptorKind
        var label = KeepLabel()
    }

    // MARK: The keeper

    /// Everything that is kept from now on goes to this keeper, too; with nil, to nobody.
    func use(_ keeper: ControlLink?) {
        state.with { state in
            state.keeper = keeper
            state.deafness = nil
        }
    }

    /// Why the keeper got no more, when it did not read.
    var deafness: SystemCallError? { state.with { $0.deafness } }

    /// Takes over what a keeper has sent.
    func hold(_ keeps: [Keep], _ descriptors: [FileDescriptor]) {
        state.with { state in
            for (keep, descriptor) in zip(keeps, descriptors) {
                state.add(Entry(descriptor: descriptor, kind: keep.kind, label: keep.label), keep.slot)
            }
        }
    }

    /// What the keeper says is kept no more.
    func drop(_ slots: [DescriptorSlot]) {
        let gone = state.with { state in slots.compactMap { state.remove($0) } }
        for entry in gone { try? closeDescriptor(entry.descriptor) }
    }

    func begin(nextSlot: Int64) { state.with { $0.nextSlot = max($0.nextSlot, nextSlot) } }

    /// What another keeper is to take over.
    var all: [(keep: Keep, descriptor: FileDescriptor)] {
        state.with { state in
            state.entries.map {
                (Keep(slot: $0.key, kind: $0.value.kind, label: $0.value.label), $0.value.descriptor)
            }
        }
    }

    var count: Int { state.with { $0.entries.count } }

    var nextSlot: Int64 { state.with { $0.nextSlot } }

    // MARK: Keeping

    /// Keeps a descriptor, which is the store's from now on.
    ///
    /// - Throws: EPIPE never: without a keeper it is kept here only.
    func take(
        _ descriptor: consuming OwnedDescriptor, _ kind: DescriptorKind, _ label: KeepLabel = KeepLabel()
    ) -> DescriptorSlot {
        let descriptor = descriptor.release()
        let (slot, keeper) = state.with { state in
            let slot = DescriptorSlot(state.nextSlot)
            state.nextSlot += 1
            state.add(Entry(descriptor: descriptor, kind: kind, label: label), slot)
            return (slot, state.keeper)
        }
        tell(keeper, .keep(Keep(slot: slot, kind: kind, label: label)), [descriptor])
        return slot
    }

    func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        do {
            return take(try descriptor.duplicated(), .file)
        } catch {
            throw LiveUpdateError(error, "keeping a descriptor")
        }
    }

    /// Lets go of it once the request that is being done has been answered.
    func release(_ slot: DescriptorSlot) { state.with { $0.released.append(slot) } }

    /// Lets go of what was released.
    func flush() {
        let (entries, slots, keeper) = state.with { state in
            let slots = state.released.filter { state.entries[$0] != nil }
            let entries = slots.compactMap { state.remove($0) }
            state.released = []
            return (entries, slots, state.keeper)
        }
        guard !slots.isEmpty else { return }
        for batch in stride(from: 0, to: slots.count, by: 500) {
            tell(keeper, .release([DescriptorSlot](slots[batch..<min(slots.count, batch + 500)])), [])
        }
        for entry in entries { try? closeDescriptor(entry.descriptor) }
    }

    /// A keeper that is gone, or that does not read for a second, is gone.
    private func tell(_ keeper: ControlLink?, _ message: ControlMessage, _ descriptors: [FileDescriptor]) {
        guard let keeper else { return }
        do throws(SystemCallError) {
            try keeper.send(message, descriptors)
        } catch {
            use(nil)
            state.with { $0.deafness = error }
        }
    }

    // MARK: Looking

    func entry(_ slot: DescriptorSlot) -> Entry? { state.with { $0.entries[slot] } }

    func slots(_ kind: DescriptorKind) -> [DescriptorSlot] {
        state.with { $0.slots[kind] ?? [] }.sorted { $0.number < $1.number }
    }

    func descriptor(_ kind: DescriptorKind) -> FileDescriptor? {
        slots(kind).first.flatMap { entry($0)?.descriptor }
    }

    func descriptor(in slot: DescriptorSlot) -> FileDescriptor? { entry(slot)?.descriptor }

    func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        do {
            return try FileStatus(of: descriptor).identity
        } catch {
            throw LiveUpdateError(error, "a descriptor")
        }
    }

    func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> FileDescriptor {
        guard let kept = descriptor(in: slot) else {
            throw LiveUpdateError(
                .badFileDescriptor, "slot \(slot.number) holds no descriptor",
                remedy: "the file was lost with its last holder: make it anew")
        }
        do {
            return try kept.duplicated().release()
        } catch {
            throw LiveUpdateError(error, "a descriptor of what is kept in slot \(slot.number)")
        }
    }
}
