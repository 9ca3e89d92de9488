// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform

/// A value that was read, and the result of its check.
package struct Checked<Value: Sendable>: Sendable {
    /// The value that was read.
    package let value: Value
    /// Why the check failed; nil when it passed.
    package let failure: ArenaError?

    init(_ value: Value, _ check: () throws(ArenaError) -> Void) {
        self.value = value
        failure = refusal(check)
    }
}

/// The error of a check; nil when it passes.
func refusal(_ check: () throws(ArenaError) -> Void) -> ArenaError? {
    do throws(ArenaError) {
        try check()
        return nil
    } catch {
        return error
    }
}

/// The superblock's words, with the results of their checks.
package struct InspectedWords: Sendable {
    /// The magic: "LUOARENA" in an arena.
    package let magic: Checked<UInt64>
    /// The version of the format.
    package let version: Checked<UInt32>
    /// The page size in bytes.
    package let pageSize: Checked<UInt32>
    /// The size of the arena in bytes.
    package let size: Checked<UInt64>
    /// The commit word: its lowest bit says which table is true.
    package let generation: UInt64

    init(_ words: SuperblockWords, fileSize: UInt64) {
        magic = Checked(words.magic, words.checkMagic)
        version = Checked(words.version, words.checkVersion)
        pageSize = Checked(words.pageSize, words.checkPageSize)
        size = Checked(words.size) { () throws(ArenaError) in try words.checkSize(inFileOf: fileSize) }
        generation = words.generation
    }

    /// The failures, in the order of the gates.
    var failures: [ArenaError] { [magic.failure, version.failure, pageSize.failure, size.failure].compactMap { $0 } }
}

/// One of the two tables of slots.
package struct InspectedTable: Sendable {
    /// A slot, and the part that it names.
    package struct Slot: Sendable {
        /// The part.
        package let part: ArenaPart
        /// The range of the part; nil when the slot is empty.
        package let place: Extent?
        /// The generation in which the slot was written.
        package let generation: UInt64
        /// The checksum of the part, according to the slot.
        package let checksum: UInt32
        /// Why the check failed; nil when it passed. Slots of a table that is not in use are not checked, because their
        /// parts may be gone.
        package let failure: ArenaError?
    }

    /// The offset in bytes from the arena's start.
    package let offset: UInt64
    /// The generation in which the table was written, according to the table.
    package let generation: UInt64
    /// Whether the table has the right checksum. A table that is not true need not: a writer may have died while it
    /// wrote it.
    package let isWhole: Bool
    /// Whether the table is that of the superblock's generation.
    package let isTrue: Bool
    /// Whether the slots were followed: the table is true, or the best substitute for it.
    package let isInUse: Bool
    /// The slots, in the order in which they are checked.
    package let slots: [Slot]

    init(
        _ stored: StoredTable, at offset: UInt64, isTrue: Bool, isInUse: Bool, _ snapshot: ArenaSnapshot, _ size: UInt64
    ) {
        self.offset = offset
        self.isTrue = isTrue
        self.isInUse = isInUse
        generation = stored.generation
        isWhole = stored.isWhole
        slots = stored.table.parts.map { part, slot in
            let outside = refusal { () throws(ArenaError) in try slot.checkPlace(part, size: size) }
            let content = refusal { () throws(ArenaError) in
                if outside == nil && isInUse { try slot.checkContent(part, snapshot) }
            }
            return Slot(
                part: part, place: slot.isPresent ? slot.range : nil, generation: slot.generation,
                checksum: slot.checksum, failure: isInUse ? outside ?? content : nil)
        }
    }
}
