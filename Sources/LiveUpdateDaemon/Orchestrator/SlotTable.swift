import LiveUpdate
import SystemPackage

/// A descriptor in a slot.
struct HeldDescriptor: Sendable {
    var descriptor: FileDescriptor
    var kind: DescriptorKind
    var label = KeepLabel()
    /// The memory of a file as it was first; nil if it is not measured.
    var memory: MemoryUse?
}

/// The descriptors in slots: by slot, by kind, by cookie, and with their memory. It does no I/O.
///
/// 1. ``allocate()`` returns a new slot. No slot is used twice.
/// 2. ``release(_:)`` marks a slot, and ``takeReleased(atMost:)`` removes all marked slots at the end of a request.
struct SlotTable: Sendable {
    private var entries: [DescriptorSlot: HeldDescriptor] = [:]
    /// The slots of each kind: few of most kinds, beside many files.
    private var kinds: [DescriptorKind: Set<DescriptorSlot>] = [:]
    /// The slots of sockets by the cookie of their other end, which a client has.
    private var cookies: [UInt64: DescriptorSlot] = [:]
    private var memory = MemoryLedger()
    /// Slots that were released and are not removed yet.
    private var released: [DescriptorSlot] = []
    /// Slots whose memory will be read again.
    private var unread: [DescriptorSlot] = []
    /// The number of the next slot.
    private(set) var next: Int64 = 1

    // MARK: Looking

    subscript(slot: DescriptorSlot) -> HeldDescriptor? { entries[slot] }

    /// All slots, in no order.
    var all: [(slot: DescriptorSlot, entry: HeldDescriptor)] { entries.map { ($0.key, $0.value) } }

    var count: Int { entries.count }

    /// Whether only descriptors of luod itself are held: no client, no session, no file.
    var holdsOnlyState: Bool { entries.values.allSatisfy { $0.kind.isOfState } }

    /// The slots of a kind, in no order.
    func slots(_ kind: DescriptorKind) -> Set<DescriptorSlot> { kinds[kind] ?? [] }

    /// The slot of the socket with this cookie at its other end.
    func slot(withCookie cookie: UInt64) -> DescriptorSlot? { cookies[cookie] }

    // MARK: Adding and removing

    /// Allocates a slot.
    mutating func allocate() -> DescriptorSlot {
        defer { next += 1 }
        return DescriptorSlot(next)
    }

    /// Allocates no slot below a number from now on.
    mutating func begin(at number: Int64) { next = max(next, number) }

    /// Adds a descriptor in a slot that holds nothing.
    mutating func add(_ entry: HeldDescriptor, _ slot: DescriptorSlot) {
        entries[slot] = entry
        kinds[entry.kind, default: []].insert(slot)
        if entry.label.cookie != 0 { cookies[entry.label.cookie] = slot }
        if let use = entry.memory { memory.add(use, of: entry.label.user) }
    }

    /// Adds a descriptor, in the place of another if the slot holds one.
    ///
    /// - Returns: the descriptor that the slot held, which the caller closes.
    mutating func replace(_ slot: DescriptorSlot, with entry: HeldDescriptor) -> HeldDescriptor? {
        let old = remove(slot)
        add(entry, slot)
        return old
    }

    /// Changes the label of a slot.
    ///
    /// - Returns: nil when the slot holds nothing.
    mutating func relabel(_ slot: DescriptorSlot, _ label: KeepLabel) -> HeldDescriptor? {
        entries[slot]?.label = label
        return entries[slot]
    }

    /// Removes a descriptor, which the caller closes.
    mutating func remove(_ slot: DescriptorSlot) -> HeldDescriptor? {
        guard let entry = entries.removeValue(forKey: slot) else { return nil }
        kinds[entry.kind]?.remove(slot)
        if entry.label.cookie != 0 { cookies[entry.label.cookie] = nil }
        if let use = entry.memory { memory.remove(use, of: entry.label.user) }
        return entry
    }

    /// Marks a slot for ``takeReleased(atMost:)``.
    mutating func release(_ slot: DescriptorSlot) { released.append(slot) }

    /// Whether slots were released that are not removed yet.
    var hasReleased: Bool { !released.isEmpty }

    /// Removes the slots that were released last, at most so many. The caller closes their descriptors.
    mutating func takeReleased(atMost most: Int) -> [(slot: DescriptorSlot, entry: HeldDescriptor)] {
        guard !released.isEmpty else { return [] }
        let slots = released.suffix(most)
        released.removeLast(slots.count)
        return slots.compactMap { slot in remove(slot).map { (slot, $0) } }
    }

    // MARK: Memory

    /// The memory of all users' files: bytes by page size.
    var memoryOfUsers: [SessionOwner: [PageSize: UInt64]] { memory.all }

    /// The bytes that a user's files would have with one more, with pages of that file's size.
    func memory(of user: SessionOwner, with use: MemoryUse) -> UInt64 { memory.bytes(of: user, with: use) }

    /// Some files whose memory is read again, each in turn.
    mutating func takeUnread(atMost most: Int) -> [(slot: DescriptorSlot, entry: HeldDescriptor)] {
        if unread.isEmpty { unread = [DescriptorSlot](slots(.file)) }
        let slots = unread.suffix(most)
        unread.removeLast(slots.count)
        return slots.compactMap { slot in entries[slot].map { (slot, $0) } }
    }

    /// Notes the present memory of a file.
    mutating func noteMemory(_ use: MemoryUse, in slot: DescriptorSlot) {
        guard let entry = entries[slot] else { return }
        memory.note(use, of: entry.label.user)
    }
}
