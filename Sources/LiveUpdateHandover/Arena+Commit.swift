// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// Commits of records, and rewrites of the journal.
extension Arena {
    /// Commits all of the records or none, with one store of the journal's tail.
    ///
    /// - Parameters:
    ///   - records: in this order.
    ///   - acquiring: whether the records describe new resources. Records that release resources may use the reserved
    ///     room.
    ///   - snapshot: the state before these records, as records. It is called when the journal is full and must be
    ///     rewritten.
    /// - Throws: `space` when the journal is full and cannot be rewritten. Nothing was changed then.
    package func commit(
        _ records: [JournalRecord], acquiring: Bool, snapshot: () -> [JournalRecord]
    ) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in
            let length = UInt64(records.reduce(0) { $0 + JournalFormat.encodedLength($1) })
            if acquiring { try makeHeadroom(4 * length, orRewriting: snapshot) }
            if unsafe state.table.journal.size - state.tail < length {
                try rewrite(snapshot(), room: length)
            }
            append(records)
        }
    }

    /// Makes sure that a later commit of up to `room` bytes that releases resources cannot fail.
    ///
    /// - Throws: `space`.
    package func ensureRoom(_ room: UInt64, snapshot: () -> [JournalRecord]) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in
            if unsafe state.table.journal.size - state.tail < room { try rewrite(snapshot(), room: room) }
        }
    }

    /// Makes sure that obsolete records do not occupy the reserved room, which is for operations that must not fail
    /// later.
    ///
    /// - Throws: `space` at the limit.
    package func ensureHeadroom(snapshot: () -> [JournalRecord]) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in try makeHeadroom(0, orRewriting: snapshot) }
    }

    /// Makes room for `length` bytes. If there is no room and most records are obsolete, this rewrites the journal and
    /// tries again.
    private func makeHeadroom(
        _ length: UInt64, orRewriting snapshot: () -> [JournalRecord]
    ) throws(ArenaError) {
        do {
            try makeHeadroom(length)
        } catch {
            let records = snapshot()
            let live = UInt64(records.reduce(0) { $0 + JournalFormat.encodedLength($1) })
            guard unsafe state.space != nil && 2 * live + Superblock.length < state.tail else { throw error }
            try rewrite(records, room: length)
            try makeHeadroom(length)
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

    /// Writes the live state to a new region, and makes that region the journal.
    private func rewrite(_ records: [JournalRecord], room: UInt64) throws(ArenaError) {
        let old = unsafe state.table.journal
        let journal = try unsafe writeJournal(
            PreparedJournal(records, firstSequence: state.nextSequence), room: room)
        flip { table in table.journal = journal.slot }
        use(journal)
        unsafe state.space?.give(old.range)
    }

    struct NewJournal {
        var slot: Slot
        var tail: UInt64
        var nextSequence: UInt64
    }

    func use(_ journal: NewJournal) {
        unsafe state.tail = journal.tail
        unsafe state.nextSequence = journal.nextSequence
    }

    func writeFirstJournal(
        _ records: PreparedJournal, in room: Extent?, isFirstBoot: Bool
    ) throws(ArenaError) -> NewJournal {
        let bytes = records.bytes
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

    func writeJournal(_ records: PreparedJournal, room: UInt64) throws(ArenaError) -> NewJournal {
        let least = JournalFormat.headerLength + UInt64(records.bytes.count) + room
        let page = Superblock.length
        let wanted = (2 * least + page) / page * page
        return write(records.bytes, records.count, in: try takeEither(wanted, or: (least + page - 1) / page * page))
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

    /// Takes the smaller range if the larger one does not fit: near the limit a journal with little room to grow is
    /// better than none.
    private func takeEither(_ wanted: UInt64, or least: UInt64) throws(ArenaError) -> Extent {
        do {
            return try take(wanted, alignment: 64)
        } catch {
            return try take(least, alignment: 64)
        }
    }

    /// Makes the slot of a completely written range.
    func seal(_ range: Extent, covered: Int) -> Slot {
        var slot = unsafe Slot(
            offset: range.offset, size: range.length, generation: state.generation &+ 1, checksum: 0)
        slot.checksum = store.checksum(at: range.offset, count: covered, continuing: slot.ownChecksum)
        return slot
    }

    /// Makes a changed table the true one, with one store of the generation.
    func flip(_ change: (inout SlotTable) -> Void) {
        var table = unsafe state.table
        change(&table)
        let generation = unsafe state.generation &+ 1
        store.write(table.bytes(generation: generation), at: Superblock.tableOffset(generation: generation))
        store.commit(generation, at: Superblock.generationOffset)
        unsafe state.table = table
        unsafe state.generation = generation
    }
}
