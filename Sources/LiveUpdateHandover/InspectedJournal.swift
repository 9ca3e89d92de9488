// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform

/// The journal's header, and its records up to the first damaged one.
package struct InspectedJournal: Sendable {
    /// A record that passed its checks.
    package struct Entry: Sendable {
        /// The sequence number, one more than that of the record before.
        package let sequence: UInt64
        /// The offset in bytes from the arena's start.
        package let offset: UInt64
        /// The record itself.
        package let record: JournalRecord
    }

    /// The range that the slot names. It may reach beyond the arena.
    package let place: Extent
    /// The magic: "LUOJRNL1" in a journal.
    package let magic: UInt64
    /// The length of the region in bytes, according to the header.
    package let length: UInt64
    /// The sequence number that the first record must have.
    package let firstSequence: UInt64
    /// The bytes of the region that are in use.
    package let tail: UInt64
    /// Why the header failed its check; nil when it passed.
    package let headerFailure: ArenaError?
    /// The records in the order in which they were written.
    package let entries: [Entry]
    /// Why the entries end before the tail. It is nil when the header is wrong, because the tail is not known then.
    package let recordsFailure: ArenaError?

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
        // If the tail is invalid, the end of the valid records is the end of the journal.
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
