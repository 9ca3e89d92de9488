// SPDX-License-Identifier: Apache-2.0

/// Records that are encoded ahead as the first ones of a journal.
package struct PreparedJournal: Sendable {
    private let records: [JournalRecord]
    private let firstSequence: UInt64
    let bytes: [UInt8]

    init(_ records: [JournalRecord], firstSequence: UInt64) {
        self.records = records
        self.firstSequence = firstSequence
        bytes = JournalFormat.encode(records, firstSequence: firstSequence)
    }

    private init(_ records: [JournalRecord], _ firstSequence: UInt64, _ bytes: [UInt8]) {
        self.records = records
        self.firstSequence = firstSequence
        self.bytes = bytes
    }

    var count: Int { records.count }

    /// The same records with more of them. They are encoded again if the next sequence number is not the expected one,
    /// which is rare.
    func appending(_ more: [JournalRecord], firstSequence now: UInt64) -> PreparedJournal {
        guard now == firstSequence else { return PreparedJournal(records + more, firstSequence: now) }
        if more.isEmpty { return self }
        let next = firstSequence &+ UInt64(records.count)
        return PreparedJournal(
            records + more, firstSequence, bytes + JournalFormat.encode(more, firstSequence: next))
    }
}
