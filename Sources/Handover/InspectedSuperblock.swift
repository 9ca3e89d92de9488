public import Platform

/// Something that was read, and why it is not believed; nil when it is.
public struct Checked<Value: Sendable>: Sendable {
    /// What was read.
    public let value: Value
    /// Why it is not believed; nil when it is.
    public let failure: ArenaError?

    init(_ value: Value, _ check: () throws(ArenaError) -> Void) {
        self.value = value
        failure = refusal(check)
    }
}

/// What a check says; nil when it lets pass.
func refusal(_ check: () throws(ArenaError) -> Void) -> ArenaError? {
    do throws(ArenaError) {
        try check()
        return nil
    } catch {
        return error
    }
}

/// The superblock's words, with what their gates say.
public struct InspectedWords: Sendable {
    /// "LUOARENA" in an arena.
    public let magic: Checked<UInt64>
    /// Of the format.
    public let version: Checked<UInt32>
    /// In bytes.
    public let pageSize: Checked<UInt32>
    /// Of the arena, in bytes.
    public let size: Checked<UInt64>
    /// The commit word: its lowest bit says which table is true.
    public let generation: UInt64

    init(_ words: SuperblockWords, fileSize: UInt64) {
        magic = Checked(words.magic, words.checkMagic)
        version = Checked(words.version, words.checkVersion)
        pageSize = Checked(words.pageSize, words.checkPageSize)
        size = Checked(words.size) { () throws(ArenaError) in try words.checkSize(inFileOf: fileSize) }
        generation = words.generation
    }

    /// In the order of the gates.
    var failures: [ArenaError] { [magic.failure, version.failure, pageSize.failure, size.failure].compactMap { $0 } }
}

/// One of the two tables of slots.
public struct InspectedTable: Sendable {
    /// A slot, and what it names.
    public struct Slot: Sendable {
        /// Which one.
        public let part: ArenaPart
        /// What it names; nil when it is empty.
        public let place: Extent?
        /// In which it was written.
        public let generation: UInt64
        /// Of what it names, as it says.
        public let checksum: UInt32
        /// Of a table that is not in use nothing is checked: what it names may be gone.
        public let failure: ArenaError?
    }

    /// In bytes from the arena's start.
    public let offset: UInt64
    /// In which it was written, as it says.
    public let generation: UInt64
    /// Whether it has its checksum. The one that is not true need not: it may have been half written by who died.
    public let isWhole: Bool
    /// Whether it is that of the superblock's generation.
    public let isTrue: Bool
    /// Whether its slots were followed: it is true, or all there is.
    public let isInUse: Bool
    /// In the order in which they are checked.
    public let slots: [Slot]

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
