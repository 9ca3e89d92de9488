// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
package import SystemPackage

/// The persistent shared memory that holds all state. It corresponds to the kernel's preserved memory in Kexec
/// Handover.
///
/// 1. `make(_:)` makes an arena, or `init(opening:_:)` opens one and checks every gate, in order.
/// 2. The owner reads `journalRecords()` and the trees, learns from them which ranges are in use, and calls
///    `claim(inUse:)` with these.
/// 3. The owner allocates and writes ranges, and commits them with one store: `commit(_:acquiring:snapshot:)` for a
///    request, `publish(_:)`, `withdraw()`, `takeOver(_:inUse:journalIn:)` and `dropIncoming()` for an update.
///
/// Ranges that were allocated and never committed are free again when the arena is opened the next time.
public final class Arena: ArenaReading, Sendable {
    /// The options for making or opening an arena.
    public struct Options: Sendable {
        /// The first size of a new arena, in bytes.
        public var initialSize: UInt64
        /// The size beyond which the arena does not grow, in bytes.
        public var limit: UInt64
        /// A probe of each store, for tests.
        package var probe: (any StoreProbe)?
        /// Whether to open the arena as it was before a boot took over, if that was the last change of the table.
        package var takingBack = false

        /// Starts with 64 KiB and allows at most 1 GiB. That is enough for the records of about 100 TiB of 2 MiB pages
        /// (16 bytes each).
        public init(initialSize: UInt64 = 64 << 10, limit: UInt64 = 1 << 30) {
            self.initialSize = initialSize
            self.limit = limit
        }

        /// Like ``init(initialSize:limit:)``, with a probe of each store.
        package init(initialSize: UInt64 = 64 << 10, limit: UInt64 = 1 << 30, probe: (any StoreProbe)?) {
            self.init(initialSize: initialSize, limit: limit)
            self.probe = probe
        }
    }

    let store: ArenaStore
    let lock = Lock()
    nonisolated(unsafe) var state: State

    /// The state of the open arena. Its fields change together, under the lock.
    struct State {
        var size: UInt64
        /// The generation. Like the sequence number it must only differ from the values before it, so both may wrap
        /// around, even if damage has set them to a large value.
        var generation: UInt64
        var table: SlotTable
        var space: ArenaSpace?
        var tail: UInt64 = 0
        var nextSequence: UInt64 = 0
    }

    // MARK: Making and opening

    /// Makes an arena in a new memory file.
    ///
    /// - Throws: `size` or `space`, with the errno of the kernel.
    package static func make(_ options: Options = Options()) throws(ArenaError) -> Arena {
        let file: OwnedDescriptor
        do {
            let made = try makeMemoryFile(named: "luo-arena", size: 0)
            // The copy avoids the numbers of standard input, output and error, which may be closed.
            file = try made.borrowed.duplicated()
        } catch {
            throw ArenaError(.space, "no memory file: \(error)", errno: error.errno)
        }
        return try format(file, options)
    }

    /// Makes an arena of an empty file.
    ///
    /// - Throws: as ``make(_:)``; `owner` when another process has locked the file.
    package static func format(
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

    /// Opens an arena and checks it, gate by gate, without changing it. The descriptor is consumed on every path.
    ///
    /// - Throws: the gate that failed: `owner` (EAGAIN), `size`, `magic`, `version`, `checksum`, `journal`; `space`
    ///   (ENOSPC) when the file has holes and its file system has no room to fill them.
    package init(opening file: consuming OwnedDescriptor, _ options: Options = Options()) throws(ArenaError) {
        try Self.lock(file.borrowed)
        let fileSize = try Self.checkBeforeMapping(file.borrowed)
        store = try ArenaStore(file: file, limit: max(options.limit, fileSize), probe: options.probe)
        unsafe state = try Self.check(store, fileSize: fileSize, takingBack: options.takingBack)
    }

    /// Reads the arena again, because another process may have changed it since it was opened. Call this before any
    /// claim or write.
    ///
    /// - Throws: as ``init(opening:_:)``.
    package func reload() throws(ArenaError) {
        let fileSize: UInt64
        do throws(SystemCallError) {
            fileSize = try FileStatus(of: store.descriptor).size
        } catch {
            throw ArenaError(.size, "\(error)", errno: error.errno)
        }
        let size = min(try SuperblockWords(store).size, fileSize)
        guard size <= store.limit else {
            throw ArenaError(
                .size,
                "the arena has grown to \(size) bytes, and this process can map only \(store.limit): raise the limit")
        }
        let found = try Self.check(store, fileSize: fileSize, takingBack: false)
        lock.withLock { unsafe state = found }
    }

    /// Reads the superblock with pread(2), and allocates the pages that the file lacks. An access to a page beyond the
    /// file's end causes a SIGBUS, and so does an access to a hole when the file system is full.
    ///
    /// - Returns: the file's size in bytes.
    /// - Throws: `size`, `magic`, `version` or `checksum`; `space` when the holes cannot be filled.
    private static func checkBeforeMapping(_ file: FileDescriptor) throws(ArenaError) -> UInt64 {
        let status: FileStatus
        let start: [UInt8]
        do throws(SystemCallError) {
            status = try FileStatus(of: file)
            start = try file.bytes(at: 0, count: Int(Superblock.length))
        } catch {
            throw ArenaError(.size, "the superblock cannot be read: \(error)", errno: error.errno)
        }
        let fileSize = min(status.size, start.count < Int(Superblock.length) ? UInt64(start.count) : status.size)
        try SuperblockWords.checkRoom(inFileOf: fileSize)
        let words = try SuperblockWords(ArenaSnapshot(start))
        try words.check(inFileOf: fileSize)
        if status.allocated < fileSize { try file.allocateArena(from: 0, to: words.size, "cannot fill its holes") }
        return fileSize
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

    private static func check(
        _ store: ArenaStore, fileSize: UInt64, takingBack: Bool
    ) throws(ArenaError) -> State {
        let words = try SuperblockWords(store)
        try words.check(inFileOf: fileSize)
        let stored = try StoredTable(store, at: Superblock.tableOffset(generation: words.generation))
        try stored.check(generation: words.generation)
        var state = State(size: words.size, generation: words.generation, table: stored.table)
        if takingBack, let before = try tableBefore(stored, store) { state.table = before }
        for (part, slot) in state.table.parts {
            try slot.checkPlace(part, size: words.size)
            try slot.checkContent(part, store)
        }
        let journal = state.table.journal
        if journal.isPresent {
            let header = try JournalHeader(store, journal)
            try header.check(journal)
            state.nextSequence = header.firstSequence
            state.tail = header.tail
        }
        return state
    }

    /// The table from before a boot took over, if that was the last change of the table.
    private static func tableBefore(_ now: StoredTable, _ store: ArenaStore) throws(ArenaError) -> SlotTable? {
        let before = try StoredTable(store, at: Superblock.tableOffset(generation: now.generation &- 1))
        let isBefore = before.isWhole && before.generation == now.generation &- 1
        let tookOver = before.table.outgoing.isPresent && before.table.outgoing == now.table.incoming
        return isBefore && tookOver ? before.table : nil
    }

    // MARK: Reading

    /// The arena's descriptor. A process that inherits it can open the arena again.
    package var descriptor: FileDescriptor { store.descriptor }

    /// The present size of the arena in bytes.
    package var size: UInt64 { lock.withLock { unsafe state.size } }

    /// The number of bytes in use; 0 before ``claim(inUse:)``.
    package var used: UInt64 { lock.withLock { unsafe state.space?.used ?? 0 } }

    /// The generation, which rises with every change of a tree and every new journal.
    package var generation: UInt64 { lock.withLock { unsafe state.generation } }

    /// The tree that the previous boot handed over, until all of it is finished.
    package var incomingTree: Extent? { lock.withLock { unsafe Self.range(state.table.incoming) } }

    /// The tree for the next boot, if one is published.
    package var outgoingTree: Extent? { lock.withLock { unsafe Self.range(state.table.outgoing) } }

    /// The journal's region, if there is a journal.
    package var journal: Extent? { lock.withLock { unsafe Self.range(state.table.journal) } }

    private static func range(_ slot: Slot) -> Extent? { slot.isPresent ? slot.range : nil }

    /// The bytes at an offset that need not be valid.
    ///
    /// - Throws: `record` when the bytes are not inside the arena.
    package func read(at offset: UInt64, count: UInt64) throws(ArenaError) -> [UInt8] {
        let size = size
        guard offset <= size, count <= size - offset else {
            throw ArenaError(.record, "\(count) bytes at offset \(offset) are outside of the arena's \(size)")
        }
        return store.read(at: offset, count: Int(count))
    }

    /// Whether the arena has these bytes at an offset. The bytes in `others` are not compared.
    package func holds(_ bytes: [UInt8], at offset: UInt64, but others: Range<Int>) -> Bool {
        let size = size
        guard offset <= size, UInt64(bytes.count) <= size - offset, others.upperBound <= bytes.count else {
            return false
        }
        return store.holds(bytes[..<others.lowerBound], at: offset)
            && store.holds(bytes[others.upperBound...], at: offset + UInt64(others.upperBound))
    }

    /// All records of the journal, checked; none when there is no journal yet.
    ///
    /// - Throws: `journal`, with the first record that is damaged.
    package func journalRecords() throws(ArenaError) -> [JournalRecord] {
        let (slot, tail) = lock.withLock { unsafe (state.table.journal, state.tail) }
        guard slot.isPresent else { return [] }
        var header = ByteReader(store.read(at: slot.offset + 16, count: 8), "journal header")
        let first = try header.take(UInt64.self)
        let start = slot.offset + JournalFormat.headerLength
        var reader = JournalReader(
            store.read(at: start, count: Int(tail - JournalFormat.headerLength))[...], firstSequence: first)
        var records: [JournalRecord] = []
        while let record = try reader.next() { records.append(record) }
        lock.withLock { unsafe state.nextSequence = first &+ UInt64(records.count) }
        return records
    }
}
