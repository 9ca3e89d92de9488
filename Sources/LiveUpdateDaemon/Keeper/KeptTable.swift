import LiveUpdate
import Platform
import SystemPackage

/// What the keeper keeps: one copy of every descriptor that must not die. It knows nothing of what they are.
struct KeptTable: ~Copyable {
    private var entries: [DescriptorSlot: (keep: Keep, descriptor: FileDescriptor)] = [:]
    private(set) var nextSlot: Int64 = 1

    mutating func keep(_ keep: Keep, _ descriptor: FileDescriptor) {
        if let old = entries[keep.slot] { try? closeDescriptor(old.descriptor) }
        entries[keep.slot] = (keep, descriptor)
        nextSlot = max(nextSlot, keep.slot.number + 1)
    }

    /// Keeps something of the keeper's own.
    mutating func add(_ descriptor: consuming OwnedDescriptor, _ kind: DescriptorKind) {
        keep(Keep(slot: DescriptorSlot(nextSlot), kind: kind), descriptor.release())
    }

    mutating func release(_ slots: [DescriptorSlot]) {
        for slot in slots {
            if let gone = entries.removeValue(forKey: slot) { try? closeDescriptor(gone.descriptor) }
        }
    }

    func entry(_ slot: DescriptorSlot) -> (keep: Keep, descriptor: FileDescriptor)? { entries[slot] }

    var count: Int { entries.count }

    mutating func startNumbering(at slot: Int64) { nextSlot = max(nextSlot, slot) }

    var all: [(keep: Keep, descriptor: FileDescriptor)] {
        entries.values.sorted { $0.keep.slot.number < $1.keep.slot.number }
    }
}
