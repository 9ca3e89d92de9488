public import Platform
public import SystemPackage

/// The persistent shared memory that all state is written in: what Kexec Handover's preserved memory is to the kernel.
///
/// 1. ``make(_:)`` makes one, or ``init(opening:_:)`` finds one and checks every gate, in order.
/// 2. The owner reads ``journalRecords()`` and the trees, learns from them what is in use, and says so with
///    ``claim(inUse:)``.
/// 3. It allocates, writes, and makes what it wrote true with one store: ``commit(_:acquiring:snapshot:)`` for a
///    request, ``publish(_:)``, ``withdraw()``, ``takeOver(_:inUse:journalIn:)`` and ``dropIncoming()`` for an update.
///
/// What was allocated and never committed is free again when the arena is opened the next time.
public final class Arena: Sendable {
    /// How an arena is made or opened.
    public struct Options: Sendable {
        /// Bytes that a new arena has at first.
        public var initialSize: UInt64
        /// Bytes beyond which it does not grow.
        public var limit: UInt64
        /// For tests.
        public var probe: (any StoreProbe)?

        /// 64 KiB at first, 1 GiB at most: enough for the records of some 100 TiB of 2 MiB pages (16 bytes each).
        public init(initialSize: UInt64 = 64 << 10, limit: UInt64 = 1 << 30, probe: (any StoreProbe)? = nil) {
            self.initialSize = initialSize
            self.limit = limit
            self.probe = probe
        }
    }

    let store: ArenaStore
    let lock = Lock()
    nonisolated(unsafe) var state: State

    /// All of it changes under the lock, and together.
    struct State {
        var size: UInt64
        /// It and the sequence number only ever differ from those before: they wrap, also from what damage made of them.
        var generation: UInt64
        var table: SlotTable
        var space: ArenaSpace?
        var tail: UInt64 = 0
        var nextSequence: UInt64 = 0
    }

    // MARK: Making and opening

    /// A new arena in a memory file of its own.
    ///
    /// - Throws: `size` or `space`, with the errno of what the kernel refused.
    public static func make(_ options: Options = Options()) throws(ArenaError) -> Arena {
        let file: OwnedDescriptor
        do {
            let made = try makeMemoryFile(named: "luo-arena", size: 0)
            // Away from the numbers of standard input, output and error, which may be closed.
            file = try made.borrowed.duplicated()
        } catch {
            throw ArenaError(.space, "no memory file: \(error)", errno: error.errno)
        }
        return try format(file, options)
    }

    /// Makes an empty file an arena.
    ///
    /// - Throws: as ``make(_:)``; `owner`, when another process has the file locked.
    public static func format(
        _ file: consuming OwnedDescriptor, _ options: Options = Options()
    ) throws(ArenaError) -> Arena {
        try lock(file.borrowed)
        let size = max(options.initialSize, Superblock.length) / Superblock.length * Superblock.length
        let store = try ArenaStore(file: file, limit: max(options.limit, size), probe: options.probe)
        try store.grow(from: 0, to: size)
        var writer = ByteWriter(capacity: 24)
        writer.put(Superblock.version)
        writer.put(UInt32(Superblock.length))
        writer.put(size)
        writer.put(UInt64(0))
        store.write(writer.bytes, at: Superblock.versionOffset)
        store.write(SlotTable().bytes(generation: 0), at: Superblock.tableOffset(generation: 0))
        store.commit(Superblock.magic, at: Superblock.magicOffset)
        return Arena(store, State(size: size, generation: 0, table: SlotTable()))
    }

    /// Opens an arena and checks it, gate by gate; it is left untouched. The descriptor is consumed on every path.
    ///
    /// - Throws: the gate that refused: `owner` (EAGAIN), `size`, `magic`, `version`, `checksum`, `journal`.
    public init(opening file: consuming OwnedDescriptor, _ options: Options = Options()) throws(ArenaError) {
        try Self.lock(file.borrowed)
        let fileSize: UInt64
        do throws(SystemCallError) {
            fileSize = try FileStatus(of: file.borrowed).size
        } catch {
            throw ArenaError(.size, "\(error)", errno: error.errno)
        }
        guard fileSize >= Superblock.length else { throw ArenaError(.size, "the file has \(fileSize) bytes") }
        store = try ArenaStore(file: file, limit: max(options.limit, fileSize), probe: options.probe)
        unsafe state = try Self.check(store, fileSize: fileSize)
    }

    private init(_ store: ArenaStore, _ state: State) {
        self.store = store
        unsafe self.state = state
    }

    private static func lock(_ file: FileDescriptor) throws(ArenaError) {
        do {
            try file.lockForWriting()
        } catch {
            let isHeld = [.resourceTemporarilyUnavailable, .permissionDenied].contains(error.errno)
            throw ArenaError(
                .owner, isHeld ? "another process runs it" : "it cannot be locked: \(error)", errno: error.errno)
        }
    }

    private static func check(_ store: ArenaStore, fileSize: UInt64) throws(ArenaError) -> State {
        var reader = ByteReader(store.read(at: 0, count: 32), "superblock")
        guard try reader.take(UInt64.self) == Superblock.magic else { throw ArenaError(.magic, "this is no arena") }
        let version = try reader.take(UInt32.self)
        let pageSize = try reader.take(UInt32.self)
        let size = try reader.take(UInt64.self)
        guard version == Superblock.version else {
            throw ArenaError(.version, "version \(version), where only \(Superblock.version) is known")
        }
        guard pageSize == UInt32(Superblock.length) else { throw ArenaError(.version, "pages of \(pageSize) bytes") }
        guard size >= Superblock.length, size <= fileSize, size % Superblock.length == 0 else {
            throw ArenaError(.size, "\(size) bytes in a file of \(fileSize)")
        }
        let generation = store.committed(at: Superblock.generationOffset)
        let table = try SlotTable(
            store.read(at: Superblock.tableOffset(generation: generation), count: SlotTable.length),
            generation: generation)
        var state = State(size: size, generation: generation, table: table)
        try check(table.incoming, "incoming tree", store, size) { Int($0.size) }
        try check(table.outgoing, "outgoing tree", store, size) { Int($0.size) }
        try check(table.journal, "journal", store, size) { _ in JournalFormat.fixedLength }
        if table.journal.isPresent { try checkJournal(store, &state) }
        return state
    }

    private static func check(
        _ slot: Slot, _ name: String, _ store: ArenaStore, _ size: UInt64, covered: (Slot) -> Int
    ) throws(ArenaError) {
        guard slot.isPresent else {
            if slot != .none { throw ArenaError(.checksum, "\(name): an empty slot that is not empty") }
            return
        }
        guard slot.offset >= Superblock.length, slot.offset % 8 == 0, slot.size <= size,
            slot.offset <= size - slot.size, slot.size >= JournalFormat.headerLength
        else { throw ArenaError(.checksum, "\(name) lies outside of the arena") }
        let found = store.checksum(at: slot.offset, count: covered(slot), continuing: slot.ownChecksum)
        guard found == slot.checksum else { throw ArenaError(.checksum, "\(name) at offset \(slot.offset)") }
    }

    private static func checkJournal(_ store: ArenaStore, _ state: inout State) throws(ArenaError) {
        let slot = state.table.journal
        var reader = ByteReader(store.read(at: slot.offset, count: JournalFormat.fixedLength), "journal header")
        let magic = try reader.take(UInt64.self)
        let length = try reader.take(UInt64.self)
        state.nextSequence = try reader.take()
        guard magic == JournalFormat.magic, length == slot.size else { throw ArenaError(.journal, "wrong header") }
        state.tail = store.committed(at: slot.offset + JournalFormat.tailOffset)
        guard state.tail >= JournalFormat.headerLength, state.tail <= length, state.tail % 8 == 0 else {
            throw ArenaError(.journal, "the tail \(state.tail) is outside of the journal's \(length) bytes")
        }
    }

    // MARK: Reading

    /// The arena's descriptor: whoever inherits it finds all of this again.
    public var descriptor: FileDescriptor { store.descriptor }

    /// Bytes that the arena has now.
    public var size: UInt64 { lock.withLock { unsafe state.size } }

    /// Bytes in use, once they were claimed.
    public var used: UInt64 { lock.withLock { unsafe state.space?.used ?? 0 } }

    /// Rises with every change of a tree and every new journal.
    public var generation: UInt64 { lock.withLock { unsafe state.generation } }

    /// The tree that the previous boot handed over, while anything of it is unfinished.
    public var incomingTree: Extent? { lock.withLock { unsafe Self.range(state.table.incoming) } }

    /// The tree for the next boot, once it was published.
    public var outgoingTree: Extent? { lock.withLock { unsafe Self.range(state.table.outgoing) } }

    /// The journal's region, if there is one.
    public var journal: Extent? { lock.withLock { unsafe Self.range(state.table.journal) } }

    private static func range(_ slot: Slot) -> Extent? { slot.isPresent ? slot.range : nil }

    /// Bytes at an offset that nobody vouches for.
    ///
    /// - Throws: `record`, when they are not inside the arena.
    public func read(at offset: UInt64, count: UInt64) throws(ArenaError) -> [UInt8] {
        let size = size
        guard offset <= size, count <= size - offset else {
            throw ArenaError(.record, "\(count) bytes at offset \(offset) are outside of the arena's \(size)")
        }
        return store.read(at: offset, count: Int(count))
    }

    /// All records of the journal, checked; none when there is no journal yet.
    ///
    /// - Throws: `journal`, with the record that is not whole.
    public func journalRecords() throws(ArenaError) -> [JournalRecord] {
        let (slot, tail) = lock.withLock { unsafe (state.table.journal, state.tail) }
        guard slot.isPresent else { return [] }
        var header = ByteReader(store.read(at: slot.offset + 16, count: 8), "journal header")
        let first = try header.take(UInt64.self)
        let start = slot.offset + JournalFormat.headerLength
        let records = try JournalFormat.decode(
            store.read(at: start, count: Int(tail - JournalFormat.headerLength)), firstSequence: first)
        lock.withLock { unsafe state.nextSequence = first &+ UInt64(records.count) }
        return records
    }
}
