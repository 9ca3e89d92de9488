import LiveUpdateEmbedded

/// A process that dies at its n-th store: from there on nothing reaches the arena, and it has no descriptors. The code of
/// its boot still runs to the end of the request, and what it says there nobody hears.
final class Life: StoreProbe, DescriptorStore {
    private let left: Guarded<Int>
    private let store: InheritedDescriptors

    /// - Parameters:
    ///   - count: stores that it gets done.
    ///   - store: what is kept, also after its end.
    init(stores count: Int, _ store: InheritedDescriptors) {
        left = Guarded(count)
        self.store = store
    }

    var isOver: Bool { left.with { $0 } < 0 }

    func willStore(bytes count: Int) -> Int {
        left.with { left in
            left -= 1
            return left < 0 ? 0 : count
        }
    }

    func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        try store.identify(descriptor)
    }

    func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot { try store.keep(descriptor) }

    /// After its end, one that no system call can do anything with: nil would say that the file can be opened anew.
    func descriptor(in slot: DescriptorSlot) -> FileDescriptor? {
        isOver ? FileDescriptor(rawValue: -1) : store.descriptor(in: slot)
    }

    func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> FileDescriptor { try store.duplicate(slot) }

    func release(_ slot: DescriptorSlot) { if !isOver { store.release(slot) } }
}
