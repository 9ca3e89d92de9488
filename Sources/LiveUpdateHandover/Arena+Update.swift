// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform

/// The changes of the trees at an update.
extension Arena {
    /// Publishes a completely written tree as the one for the next boot.
    package func publish(_ tree: Extent) {
        lock.withLock {
            let slot = seal(tree, covered: Int(tree.length))
            flip { table in table.outgoing = slot }
        }
    }

    /// Withdraws the tree for the next boot, so that the journal is true again. The tree's range is freed.
    package func withdraw() {
        lock.withLock {
            let old = unsafe state.table.outgoing
            guard old.isPresent else { return }
            // A next boot on trial may have taken over meanwhile. This state becomes true again with a higher
            // generation than that boot's.
            unsafe state.generation = store.committed(at: Superblock.generationOffset)
            flip { table in table.outgoing = .none }
            unsafe state.space?.give(old.range)
        }
    }

    /// Begins a boot with one store: the outgoing tree becomes the incoming tree, and these records become the journal.
    /// Ranges that were in use before, and are neither in `inUse` nor in the tree, are free after it.
    ///
    /// - Parameters:
    ///   - records: the records of the first journal of this boot.
    ///   - inUse: the ranges that the records and the tree point to.
    ///   - room: the room that the previous boot left for the journal. Until the store, the state of the previous boot
    ///     must stay whole, so this writes only into that room. If the room is too small, the arena grows.
    /// - Throws: `space` when there is no room for the journal, `record` when the ranges are invalid. Nothing was
    ///   changed then, and the old boot can continue.
    package func takeOver(
        _ records: [JournalRecord], inUse: [Extent], journalIn room: Extent? = nil
    ) throws(ArenaError) {
        try takeOver(PreparedJournal(records, firstSequence: nextSequence), and: [], inUse: inUse, journalIn: room)
    }

    /// Begins a boot like ``takeOver(_:inUse:journalIn:)``, with records that were encoded ahead and some more after
    /// them.
    ///
    /// - Throws: as ``takeOver(_:inUse:journalIn:)``.
    package func takeOver(
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

    /// Encodes the records of a boot's first journal ahead of ``takeOver(_:and:inUse:journalIn:)``. It also reads the
    /// room for the journal, so that the room is mapped by then.
    package func prepare(_ records: [JournalRecord], in room: Extent) -> PreparedJournal {
        let size = size
        if room.offset <= size, room.length <= size - room.offset { _ = checksum(of: room) }
        return PreparedJournal(records, firstSequence: nextSequence)
    }

    private var nextSequence: UInt64 { lock.withLock { unsafe state.nextSequence } }

    /// Drops the incoming tree after the end of its last session.
    package func dropIncoming() {
        lock.withLock {
            let old = unsafe state.table.incoming
            guard old.isPresent else { return }
            flip { table in table.incoming = .none }
            unsafe state.space?.give(old.range)
        }
    }
}
