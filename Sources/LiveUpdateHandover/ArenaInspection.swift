// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform

/// The inspection of an arena that this process does not run. It has the result of each gate, and everything that can
/// be read even if a gate fails.
///
/// The gates are those of ``Arena``: an arena without ``failures`` can be opened, and its journal is whole.
package struct ArenaInspection: Sendable {
    /// The inspected copy.
    package let snapshot: ArenaSnapshot
    /// The superblock's words; nil when the file is too short to have any.
    package let words: InspectedWords?
    /// The tables of even and of odd generations; none when this is no arena.
    package let tables: [InspectedTable]
    /// The journal; nil when there is none, or its place cannot be found.
    package let journal: InspectedJournal?
    /// Why the arena cannot be opened, in the order of the gates.
    package let failures: [ArenaError]
    /// The bytes in which all ranges must lie: the size of the arena, or that of the file when the arena's size is
    /// invalid.
    package let size: UInt64
    /// The ranges of the journal and the trees themselves, without the ranges that they name.
    package let ownRanges: [Extent]

    /// Makes all checks once.
    package init(_ snapshot: ArenaSnapshot) {
        let present = UInt64(snapshot.bytes.count)
        let room = refusal { () throws(ArenaError) in try SuperblockWords.checkRoom(inFileOf: present) }
        let found = room == nil ? try? SuperblockWords(snapshot) : nil
        let words = found.map { InspectedWords($0, fileSize: snapshot.fileSize) }
        self.snapshot = snapshot
        self.words = words
        size = words.map { $0.size.failure == nil ? min($0.size.value, present) : present } ?? present
        guard let found, let words, snapshot.isArena else {
            failures = [room ?? words?.magic.failure].compactMap { $0 }
            (tables, journal, ownRanges) = ([], nil, [])
            return
        }
        let stored = Superblock.tableOffsets.compactMap { try? StoredTable(snapshot, at: $0) }
        let current = stored[Int(found.generation % 2)]
        let refused = refusal { () throws(ArenaError) in try current.check(generation: found.generation) }
        let used =
            refused == nil ? current : Self.substitute(for: current, among: stored, isTrusted: words.failures.isEmpty)
        tables = zip(Superblock.tableOffsets, stored).map { [size] offset, table in
            InspectedTable(
                table, at: offset, isTrue: table == current && refused == nil, isInUse: table == used, snapshot, size)
        }
        ownRanges = used?.table.ranges ?? []
        journal = used.flatMap { [size] in InspectedJournal($0.table.journal, snapshot, size: size) }
        failures =
            words.failures + [refused].compactMap { $0 } + tables.flatMap { $0.slots.compactMap(\.failure) }
            + [journal?.headerFailure, journal?.recordsFailure].compactMap { $0 }
    }

    /// The table to show when the current table fails its check. It is the newest whole table. If no table is whole, it
    /// is the current table, provided that the words of the superblock pass their checks: each slot has a checksum of
    /// its own.
    private static func substitute(
        for current: StoredTable, among all: [StoredTable], isTrusted: Bool
    ) -> StoredTable? {
        all.filter(\.isWhole).max { $0.generation < $1.generation } ?? (isTrusted ? current : nil)
    }

    /// The place of a part, if there is one: as much of the part as lies in the arena. Its checksum may be wrong.
    package func place(of part: ArenaPart) -> Extent? {
        tables.first(where: \.isInUse)?.slots.first { $0.part == part }?.place.flatMap { $0.part(in: size) }
    }

    /// Checks ranges like ``Arena/claim(inUse:)``, but changes nothing.
    ///
    /// - Throws: `record` when ranges overlap or leave the arena.
    package func checkInUse(_ ranges: [Extent]) throws(ArenaError) {
        _ = try ArenaSpace(size: size, inUse: ranges + ownRanges)
    }

    /// The ranges that make ``checkInUse(_:)`` fail. The others lie inside the arena and do not overlap.
    package func misplaced(_ ranges: [Extent]) -> Set<Extent> {
        ArenaSpace.misplaced(ranges, besides: ownRanges, size: size)
    }

    /// The checksum of a range that lies in the arena.
    package func checksum(of range: Extent) -> UInt32 {
        precondition(range.offset <= size && range.length <= size - range.offset)
        return snapshot.checksum(at: range.offset, count: Int(range.length))
    }
}

extension Extent {
    /// The part of this extent that lies in the first `size` bytes, if it is at least as long as a header.
    func part(in size: UInt64) -> Extent? {
        guard offset >= Superblock.length, offset % 8 == 0, offset < size else { return nil }
        let rest = min(length, size - offset)
        return rest >= JournalFormat.headerLength ? Extent(offset: offset, length: rest) : nil
    }
}

extension ArenaInspection: ArenaReading {
    package func read(at offset: UInt64, count: UInt64) throws(ArenaError) -> [UInt8] {
        guard offset <= size, count <= size - offset else {
            throw ArenaError(.record, "\(count) bytes at offset \(offset) are outside of the arena's \(size)")
        }
        return snapshot.read(at: offset, count: Int(count))
    }
}
