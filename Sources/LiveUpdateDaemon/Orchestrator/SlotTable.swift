// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage

/// A descriptor in a slot.
struct HeldDescriptor: Sendable {
    var descriptor: FileDescriptor
    var kind: DescriptorKind
    var label = DescriptorLabel()
    /// The memory of a file when it was added; nil if it is not measured.
    var memory: MemoryUse?
}

/// The descriptors in slots: by slot, by kind, by cookie, and with their memory. It does no I/O.
///
/// 1. ``allocate()`` returns a new slot. No slot is used twice.
/// 2. ``release(_:)`` marks a slot, and ``takeReleased(atMost:)`` removes all marked slots at the end of a request.
struct SlotTable: Sendable {
    private var entries: [DescriptorSlot: HeldDescriptor] = [:]
    /// The slots of each kind. There may be many files, and few descriptors of most other kinds.
    private var kinds: [DescriptorKind: Set<DescriptorSlot>] = [:]
    /// The slots of sockets, by the cookie of the other end, which a client holds.
    private var cookies: [UInt64: DescriptorSlot] = [:]
    private var memory = MemoryLedger()
    /// Slots that were released but not yet removed.
    private var released: [DescriptorSlot] = []
    /// Slots to read the memory of next.
    private var unread: [DescriptorSlot] = []
    /// The number of the next slot.
    private(set) var next: Int64 = 1

    // MARK: Looking

    subscript(slot: DescriptorSlot) -> HeldDescriptor? { entries[slot] }

    /// All slots, in no particular order.
    var all: [(slot: DescriptorSlot, entry: HeldDescriptor)] { entries.map { ($0.key, $0.value) } }

    var count: Int { entries.count }

    /// Whether only descriptors of luod itself are held: no client, no session, no file.
    var holdsOnlyState: Bool { entries.values.allSatisfy { $0.kind.isOfState } }

    /// The slots of a kind, in no particular order.
    func slots(_ kind: DescriptorKind) -> Set<DescriptorSlot> { kinds[kind] ?? [] }

    /// The slot of the socket with this cookie at its other end.
    func slot(withCookie cookie: UInt64) -> DescriptorSlot? { cookies[cookie] }

    // MARK: Adding and removing

    /// Allocates a slot.
    mutating func allocate() -> DescriptorSlot {
        defer { next += 1 }
        return DescriptorSlot(next)
    }

    /// From now on, allocates no slot below a number.
    mutating func begin(at number: Int64) { next = max(next, number) }

    /// Adds a descriptor in an empty slot.
    mutating func add(_ entry: HeldDescriptor, _ slot: DescriptorSlot) {
        entries[slot] = entry
        kinds[entry.kind, default: []].insert(slot)
        if entry.label.cookie != 0 { cookies[entry.label.cookie] = slot }
        if let use = entry.memory { memory.add(use, of: entry.label.user) }
    }

    /// Adds a descriptor. If the slot holds another one, this replaces it.
    ///
    /// - Returns: the descriptor that the slot held. The caller must close it.
    mutating func replace(_ slot: DescriptorSlot, with entry: HeldDescriptor) -> HeldDescriptor? {
        let old = remove(slot)
        add(entry, slot)
        return old
    }

    /// Changes the label of a slot.
    ///
    /// - Returns: nil for an empty slot.
    mutating func relabel(_ slot: DescriptorSlot, _ label: DescriptorLabel) -> HeldDescriptor? {
        entries[slot]?.label = label
        return entries[slot]
    }

    /// Removes a descriptor. The caller must close it.
    mutating func remove(_ slot: DescriptorSlot) -> HeldDescriptor? {
        guard let entry = entries.removeValue(forKey: slot) else { return nil }
        kinds[entry.kind]?.remove(slot)
        if entry.label.cookie != 0 { cookies[entry.label.cookie] = nil }
        if let use = entry.memory { memory.remove(use, of: entry.label.user) }
        return entry
    }

    /// Marks a slot for ``takeReleased(atMost:)``.
    mutating func release(_ slot: DescriptorSlot) { released.append(slot) }

    /// Whether there are slots that were released but not yet removed.
    var hasReleased: Bool { !released.isEmpty }

    /// Removes the slots that were released last, at most this many. The caller must close their descriptors.
    mutating func takeReleased(atMost most: Int) -> [(slot: DescriptorSlot, entry: HeldDescriptor)] {
        guard !released.isEmpty else { return [] }
        let slots = released.suffix(most)
        released.removeLast(slots.count)
        return slots.compactMap { slot in remove(slot).map { (slot, $0) } }
    }

    // MARK: Memory

    /// The memory of all users' files, in bytes by page size.
    var memoryOfUsers: [SessionUser: [PageSize: UInt64]] { memory.all }

    /// The bytes of a user's files with the page size of `use`, including that file.
    func memory(of user: SessionUser, with use: MemoryUse) -> UInt64 { memory.bytes(of: user, with: use) }

    /// Returns several files for the next reading of their memory. All files take turns.
    mutating func takeUnread(atMost most: Int) -> [(slot: DescriptorSlot, entry: HeldDescriptor)] {
        if unread.isEmpty { unread = [DescriptorSlot](slots(.file)) }
        let slots = unread.suffix(most)
        unread.removeLast(slots.count)
        return slots.compactMap { slot in entries[slot].map { (slot, $0) } }
    }

    /// Notes the current memory of a file.
    mutating func noteMemory(_ use: MemoryUse, in slot: DescriptorSlot) {
        guard let entry = entries[slot] else { return }
        memory.note(use, of: entry.label.user)
    }
}
