public import Platform

/// The journal's header, and its records up to the first that is not whole.
public struct InspectedJournal: Sendable {
    /// A record that is whole.
    public struct Entry: Sendable {
        /// Its number, one more than that of the record before.
        public let sequence: UInt64
        /// In bytes from the arena's start.
        public let offset: UInt64
        /// What it says.
        public let record: JournalRecord
    }

    /// As its slot says; it may reach beyond the arena.
    public let place: Extent
    /// "LUOJRNL1" in a journal.
    public let magic: UInt64
    /// Of the region, in bytes, as the header says.
    public let length: UInt64
    /// The number that the first record must have.
    public let firstSequence: UInt64
    /// Bytes of the region that are in use.
    public let tail: UInt64
    /// Why the header is not believed; nil when it is.
    public let headerFailure: ArenaError?
    /// In the order in which they were written.
    public let entries: [Entry]
    /// Why there are no more entries, although the tail says so. Not known when the header is wrong.
    public let recordsFailure: ArenaError?

    init?(_ slot: Slot, _ snapshot: ArenaSnapshot, size: UInt64) {
        guard let present = slot.range.part(in: size), let header = try? JournalHeader(snapshot, slot) else {
            return nil
        }
        place = slot.range
        magic = header.magic
        length = header.length
        firstSequence = header.firstSequence
        tail = header.tail
        headerFailure = refusal { () throws(ArenaError) in try header.check(slot) }
        // With a tail that cannot be, the records themselves have to say where they end.
        let end = min(headerFailure == nil ? header.tail : present.length, present.length)
        let records = Self.read(snapshot, present, end: end, firstSequence: header.firstSequence)
        entries = records.entries
        recordsFailure = headerFailure == nil ? records.failure : nil
    }

    private static func read(
        _ snapshot: ArenaSnapshot, _ present: Extent, end: UInt64, firstSequence: UInt64
    ) -> (entries: [Entry], failure: ArenaError?) {
        let start = present.offset + JournalFormat.headerLength
        let bytes = snapshot.bytes[Int(start)..<Int(present.offset + end)]
        var reader = JournalReader(bytes, firstSequence: firstSequence)
        var entries: [Entry] = []
        let failure = refusal { () throws(ArenaError) in
            while true {
                let (sequence, offset) = (reader.sequence, start + UInt64(reader.position))
                guard let record = try reader.next() else { return }
                entries.append(Entry(sequence: sequence, offset: offset, record: record))
            }
        }
        return (entries, failure)
    }
}
