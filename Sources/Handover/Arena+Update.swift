public import Platform

/// How trees change hands.
extension Arena {
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
            // A next boot on trial may have taken over meanwhile: this becomes the truth again, above it.
            unsafe state.generation = store.committed(at: Superblock.generationOffset)
            flip { table in table.outgoing = .none }
            unsafe state.space?.give(old.range)
        }
    }

    /// Begins a boot with one store: what was outgoing is incoming, and these records are the journal. Everything that
    /// was in use before and is neither in `inUse` nor in the tree is free after it.
    ///
    /// - Parameters:
    ///   - records: of the first journal of this boot.
    ///   - inUse: what they and the tree point to.
    ///   - room: where the previous boot left room for the journal. Until the store is made its state has to stay whole, so
    ///     nothing is written where it may have something; without enough room the arena grows.
    /// - Throws: `space`, when there is no room for the journal, `record` when the ranges cannot be; then nothing was
    ///   changed and the old boot can still go on.
    public func takeOver(
        _ records: [JournalRecord], inUse: [Extent], journalIn room: Extent? = nil
    ) throws(ArenaError) {
        try takeOver(PreparedJournal(records, firstSequence: nextSequence), and: [], inUse: inUse, journalIn: room)
    }

    /// The same, with records that were put together ahead of it, and some more behind them.
    ///
    /// - Throws: as ``takeOver(_:inUse:journalIn:)``.
    public func takeOver(
        _ prepared: PreparedJournal, and more: [JournalRecord], inUse: [Extent], journalIn room: Extent? = nil
    ) throws(ArenaError) {
        try claim(inUse: inUse + (room.map { [$0] } ?? []))
        try lock.withLock { () throws(ArenaError) in
            let old = unsafe state.table
            let records = unsafe prepared.appending(more, firstSequence: state.nextSequence)
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

    /// Puts the records of a boot's first journal together ahead of ``takeOver(_:and:inUse:journalIn:)``. The room for it is
    /// looked at, so that it is mapped then.
    public func prepare(_ records: [JournalRecord], in room: Extent) -> PreparedJournal {
        let size = size
        if room.offset <= size, room.length <= size - room.offset { _ = checksum(of: room) }
        return PreparedJournal(records, firstSequence: nextSequence)
    }

    private var nextSequence: UInt64 { lock.withLock { unsafe state.nextSequence } }

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
