public import Platform
public import SystemPackage

/// The persistent shared memory that all state is written in: what Kexec Handover's preserved memory is to the kernel.
///
/// 1. ``make(_:)`` makes one, or ``init(opening:_:)`` finds one and checks every gate, in order.
/// 2. The owner reads ``journalRecords()`` and the trees, learns from them what is in use, and says so with
///    ``claim(inUse:)``.
/// 3. It allocates, writes, and makes what it wrote true with one store: ``commit(_:acquiring:snapshot:)`` for a
///    request, ``publish(_:)``, ``withdraw()``, ``takeOver(_:inUse:)`` and ``dropIncoming()`` for an update.
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

    private let store: ArenaStore
    private let lock = Lock()
    private nonisolated(unsafe) var state: State

    /// All of it changes under the lock, and together.
    private struct State {
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

    // MARK: Space

    /// Says which ranges are in use, besides the superblock, the journal and the trees; everything else is free.
    ///
    /// - Throws: `record`, when ranges overlap or leave the arena.
    public func claim(inUse: [Extent]) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in
            let table = unsafe state.table
            let own = [table.incoming, table.outgoing, table.journal].filter(\.isPresent).map(\.range)
            unsafe state.space = try ArenaSpace(size: state.size, inUse: inUse + own)
        }
    }

    /// Takes a free range, growing the arena when there is none. Its bytes are not zeroed.
    ///
    /// Room is always left for what must not fail later: writing the journal anew, and publishing.
    ///
    /// - Parameter alignment: a power of two, 64 at least.
    /// - Throws: `space`, at the limit or when the file system is full.
    public func allocate(_ length: UInt64, alignment: UInt64 = 64) throws(ArenaError) -> Extent {
        try lock.withLock { () throws(ArenaError) in
            try unsafe Self.checkHeadroom(length, state, limit: store.limit)
            return try take(length, alignment: alignment)
        }
    }

    /// As ``allocate(_:alignment:)``, out of the room that was left: for a tree.
    public func allocateReserved(_ length: UInt64, alignment: UInt64 = 64) throws(ArenaError) -> Extent {
        try lock.withLock { () throws(ArenaError) in try take(length, alignment: alignment) }
    }

    /// Gives ranges back.
    public func free(_ ranges: [Extent]) {
        lock.withLock { for range in ranges { unsafe state.space?.give(range) } }
    }

    /// Writes into a range that was allocated and that nothing committed names yet.
    public func write(_ bytes: [UInt8], at offset: UInt64) {
        precondition(offset >= Superblock.length && offset + UInt64(bytes.count) <= size)
        store.write(bytes, at: offset)
    }

    /// The checksum of a range that was allocated.
    public func checksum(of range: Extent) -> UInt32 { store.checksum(at: range.offset, count: Int(range.length)) }

    private static func checkHeadroom(_ length: UInt64, _ state: State, limit: UInt64) throws(ArenaError) {
        // A new journal has twice the room of the present records; a tree, with the room for the next boot's journal,
        // takes about as much again.
        let headroom = 6 * state.tail + (32 << 10)
        // In one piece, as they have to be.
        guard let space = state.space, space.has(length, leaving: headroom, limit: limit) else {
            throw ArenaError(.space, "its limit of \(limit) bytes is reached", errno: .noSpace)
        }
    }

    private func take(_ length: UInt64, alignment: UInt64) throws(ArenaError) -> Extent {
        if let range = unsafe state.space?.take(length, alignment: alignment) { return range }
        try grow(by: length + alignment)
        if let range = unsafe state.space?.take(length, alignment: alignment) { return range }
        throw ArenaError(.space, "no room for \(length) bytes", errno: .noSpace)
    }

    private func grow(by length: UInt64) throws(ArenaError) {
        let old = unsafe state.size
        let step = max(ArenaSpace.rounded(length), min(old / 2, 64 << 20))
        let page = Superblock.length
        let least = (old + length + page - 1) / page * page
        let size = max(least, min((old + step) / page * page, store.limit / page * page))
        guard size <= store.limit else {
            throw ArenaError(.space, "its limit of \(store.limit) bytes is reached", errno: .noSpace)
        }
        try store.grow(from: old, to: size)
        store.commit(size, at: Superblock.sizeOffset)
        unsafe state.size = size
        unsafe state.space?.extend(to: size)
    }

    // MARK: Committing

    /// Makes records true, all of them or none, with one store of the journal's tail.
    ///
    /// - Parameters:
    ///   - acquiring: whether they describe something new; what lets go of something may use the room that was left
    ///     for it.
    ///   - snapshot: the state before these records, as records: asked for when the journal is full and is written anew.
    /// - Throws: `space`, when it is full and cannot be written anew; then nothing was changed.
    public func commit(
        _ records: [JournalRecord], acquiring: Bool, snapshot: () -> [JournalRecord]
    ) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in
            let length = UInt64(records.reduce(0) { $0 + JournalFormat.encodedLength($1) })
            if acquiring { try makeHeadroom(4 * length, snapshot) }
            if unsafe state.table.journal.size - state.tail < length {
                try rewrite(snapshot(), room: length)
            }
            append(records)
        }
    }

    /// Makes sure that a later commit of up to `room` bytes, of something that lets go, cannot fail.
    ///
    /// - Throws: `space`.
    public func ensureRoom(_ room: UInt64, snapshot: () -> [JournalRecord]) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in
            if unsafe state.table.journal.size - state.tail < room { try rewrite(snapshot(), room: room) }
        }
    }

    /// Makes sure that the room that is left for what must not fail later is not taken by records of what is long gone.
    ///
    /// - Throws: `space`, at the limit.
    public func ensureHeadroom(snapshot: () -> [JournalRecord]) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in try makeHeadroom(0, snapshot) }
    }

    /// Writes the journal anew, when it says much more than what is, before something new is refused.
    private func makeHeadroom(_ length: UInt64, _ snapshot: () -> [JournalRecord]) throws(ArenaError) {
        do {
            try unsafe Self.checkHeadroom(length, state, limit: store.limit)
        } catch {
            let records = snapshot()
            let live = UInt64(records.reduce(0) { $0 + JournalFormat.encodedLength($1) })
            guard unsafe state.space != nil && 2 * live + Superblock.length < state.tail else { throw error }
            try rewrite(records, room: length)
            try unsafe Self.checkHeadroom(length, state, limit: store.limit)
        }
    }

    private func append(_ records: [JournalRecord]) {
        let bytes = unsafe JournalFormat.encode(records, firstSequence: state.nextSequence)
        let journal = unsafe state.table.journal.offset
        unsafe store.write(bytes, at: journal + state.tail)
        unsafe state.tail += UInt64(bytes.count)
        unsafe state.nextSequence &+= UInt64(records.count)
        unsafe store.commit(state.tail, at: journal + JournalFormat.tailOffset)
    }

    /// Writes the live state anew and makes it the journal.
    private func rewrite(_ records: [JournalRecord], room: UInt64) throws(ArenaError) {
        let old = unsafe state.table.journal
        let journal = try writeJournal(records, room: room)
        flip { table in table.journal = journal.slot }
        use(journal)
        unsafe state.space?.give(old.range)
    }

    private struct NewJournal {
        var slot: Slot
        var tail: UInt64
        var nextSequence: UInt64
    }

    private func use(_ journal: NewJournal) {
        unsafe state.tail = journal.tail
        unsafe state.nextSequence = journal.nextSequence
    }

    private func writeFirstJournal(
        _ records: [JournalRecord], in room: Extent?, isFirstBoot: Bool
    ) throws(ArenaError) -> NewJournal {
        let bytes = unsafe JournalFormat.encode(records, firstSequence: state.nextSequence)
        let least = JournalFormat.headerLength + UInt64(bytes.count) + Superblock.length
        if let room, room.length >= least { return write(bytes, records.count, in: room) }
        if isFirstBoot { return try writeJournal(records, room: 4 * Superblock.length) }
        let end = unsafe state.size
        try grow(by: least)
        guard let range = unsafe state.space?.take(least, alignment: 64, from: end) else {
            throw ArenaError(.space, "no room for a journal of \(least) bytes", errno: .noSpace)
        }
        if let room { unsafe state.space?.give(room) }
        return write(bytes, records.count, in: range)
    }

    private func writeJournal(_ records: [JournalRecord], room: UInt64) throws(ArenaError) -> NewJournal {
        let bytes = unsafe JournalFormat.encode(records, firstSequence: state.nextSequence)
        let least = JournalFormat.headerLength + UInt64(bytes.count) + room
        let page = Superblock.length
        let wanted = (2 * least + page) / page * page
        return write(bytes, records.count, in: try takeEither(wanted, or: (least + page - 1) / page * page))
    }

    private func write(_ bytes: [UInt8], _ count: Int, in range: Extent) -> NewJournal {
        let first = unsafe state.nextSequence
        store.write(JournalFormat.header(length: range.length, firstSequence: first), at: range.offset)
        store.write(bytes, at: range.offset + JournalFormat.headerLength)
        let tail = JournalFormat.headerLength + UInt64(bytes.count)
        store.commit(tail, at: range.offset + JournalFormat.tailOffset)
        return NewJournal(
            slot: seal(range, covered: JournalFormat.fixedLength), tail: tail,
            nextSequence: first &+ UInt64(count))
    }

    /// Near the limit a journal without much room to grow is better than none.
    private func takeEither(_ wanted: UInt64, or least: UInt64) throws(ArenaError) -> Extent {
        do {
            return try take(wanted, alignment: 64)
        } catch {
            return try take(least, alignment: 64)
        }
    }

    /// The slot for a range that is wholly written.
    private func seal(_ range: Extent, covered: Int) -> Slot {
        var slot = unsafe Slot(
            offset: range.offset, size: range.length, generation: state.generation &+ 1, checksum: 0)
        slot.checksum = store.checksum(at: range.offset, count: covered, continuing: slot.ownChecksum)
        return slot
    }

    /// Makes another table the true one, with one store of the generation.
    private func flip(_ change: (inout SlotTable) -> Void) {
        var table = unsafe state.table
        change(&table)
        let generation = unsafe state.generation &+ 1
        store.write(table.bytes(generation: generation), at: Superblock.tableOffset(generation: generation))
        store.commit(generation, at: Superblock.generationOffset)
        unsafe state.table = table
        unsafe state.generation = generation
    }

    // MARK: An update

    /// Makes a wholly written tree the one for the next boot.
    public func publish(_ tree: Extent) {
        lock.withLock {
            let slot = seal(tree, covered: Int(tree.length))
            flip { table in table.outgoing = slot }
        }
    }

    /// Takes the tree for the next boot back: the journal is the truth again. The tree's range is free.
    public func withdraw() {
        lock.withLock {
            let old = unsafe state.table.outgoing
            guard old.isPresent else { return }
            flip { table in table.outgoing = .none }
            unsafe state.space?.give(old.range)
        }
    }

    /// Begins a boot with one store: what was outgoing is incoming, and these records are the journal. Everything that
    /// was in use before and is neither in `inUse` nor in the tree is free after it.
    ///
    /// - Parameter room: where the previous boot left room for the journal. Until the store is made its state has to stay
    ///   whole, so nothing is written where it may have something; without enough room the arena grows.
    /// - Throws: `space`, when there is no room for the journal, `record` when the ranges cannot be; then nothing was
    ///   changed and the old boot can still go on.
    public func takeOver(
        _ records: [JournalRecord], inUse: [Extent], journalIn room: Extent? = nil
    ) throws(ArenaError) {
        try claim(inUse: inUse + (room.map { [$0] } ?? []))
        try lock.withLock { () throws(ArenaError) in
            let old = unsafe state.table
            let journal = try writeFirstJournal(records, in: room, isFirstBoot: !old.journal.isPresent)
            flip { table in
                table.incoming = table.outgoing
                table.outgoing = .none
                table.journal = journal.slot
            }
            use(journal)
            for slot in [old.incoming, old.journal] where slot.isPresent { unsafe state.space?.give(slot.range) }
        }
    }

    /// Forgets the tree that came, whose last session has ended.
    public func dropIncoming() {
        lock.withLock {
            let old = unsafe state.table.incoming
            guard old.isPresent else { return }
            flip { table in table.incoming = .none }
            unsafe state.space?.give(old.range)
        }
    }
}
