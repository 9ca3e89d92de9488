import Platform
public import SystemPackage

/// A copy of an arena's bytes at one moment, also of one that somebody runs: nothing is locked, mapped or written.
///
/// 1. The commit words are read: the size, the generation, and the journal's tail.
/// 2. The file is copied, from its start to its end.
/// 3. The commit words are read again. When they have not moved, everything in the copy was true together; else it is
///    copied anew.
///
/// Unhappy: somebody commits faster than a large arena can be copied. As long as the generation stays, the journal in the
/// copy is true up to the tail in the copy, and only what its records point to may have changed: ``isSettled``.
public struct ArenaSnapshot: Sendable {
    /// What the file had, in bytes.
    public let fileSize: UInt64
    /// Whether somebody has it locked, and so runs it; nil when the kernel does not say.
    public let isLocked: Bool?
    /// Whether nothing was committed while it was copied.
    public private(set) var isSettled = true
    /// The file's first bytes: all of an arena, and of what is none its first page.
    let bytes: [UInt8]

    /// Bytes that are copied at most, when nothing else is said: as far as an arena grows, when nothing else is said.
    public static let defaultLimit: UInt64 = 1 << 30
    private static let attempts = 100

    /// A snapshot of bytes that do not change.
    public init(_ bytes: [UInt8]) { self.init(bytes, fileSize: UInt64(bytes.count), isLocked: false) }

    private init(_ bytes: [UInt8], fileSize: UInt64, isLocked: Bool?) {
        self.bytes = bytes
        self.fileSize = fileSize
        self.isLocked = isLocked
    }

    /// Copies an arena, or the start of what is none.
    ///
    /// - Parameters:
    ///   - file: the arena's, open for reading at least.
    ///   - limit: bytes that are copied at most.
    /// - Throws: `owner` (EAGAIN), when it was changed anew during each of many attempts; `space` (EFBIG), when the arena
    ///   has more than the limit; `size`, with what fstat(2) or pread(2) answered.
    public init(of file: FileDescriptor, limit: UInt64 = defaultLimit) throws(ArenaError) {
        let found: ArenaSnapshot?
        do {
            found = try Self.take(file, atMost: limit)
        } catch {
            throw ArenaError(.size, "it cannot be read: \(error)", errno: error.errno)
        }
        guard let found else {
            throw ArenaError(.owner, "it changes faster than it can be read", errno: .resourceTemporarilyUnavailable)
        }
        self = found
        try checkLimit(limit)
    }

    /// - Returns: the last copy that is of use, if there is one.
    private static func take(_ file: FileDescriptor, atMost limit: UInt64) throws(SystemCallError) -> ArenaSnapshot? {
        var found: ArenaSnapshot?
        for _ in 0..<attempts {
            let before = try CommitWords(file)
            var copy = try copy(file, atMost: limit)
            let after = try CommitWords(file)
            copy.isSettled = before == after
            if before.superblock == after.superblock { found = copy }
            if copy.isSettled { break }
        }
        return found
    }

    private func checkLimit(_ limit: UInt64) throws(ArenaError) {
        guard isArena else { return }
        let size = try SuperblockWords(self).size
        guard size <= UInt64(bytes.count) || size > fileSize || UInt64(bytes.count) < limit else {
            throw ArenaError(.space, "\(size) bytes, where at most \(limit) are read", errno: .fileTooLarge)
        }
    }

    private static func copy(_ file: FileDescriptor, atMost limit: UInt64) throws(SystemCallError) -> ArenaSnapshot {
        let fileSize = try FileStatus(of: file).size
        let isLocked = try? file.isLockedByAnother()
        let start = ArenaSnapshot(
            try file.bytes(at: 0, count: Int(Superblock.length)), fileSize: fileSize, isLocked: isLocked)
        guard start.isArena else { return start }
        // Of a file that is much longer than the arena says only the arena is read.
        let own = (try? SuperblockWords(start).size) ?? 0
        let count = min(fileSize, limit, max(own, defaultLimit))
        let bytes = try file.bytes(at: 0, count: Int(clamping: count))
        // It may have been cut since it was asked for its size.
        let size = UInt64(bytes.count) < count ? UInt64(bytes.count) : fileSize
        return ArenaSnapshot(bytes, fileSize: size, isLocked: isLocked)
    }

    /// Whether it is an arena, as far as its first page says: it has the magic, or one of its tables is whole.
    var isArena: Bool {
        guard bytes.count >= Superblock.length, let words = try? SuperblockWords(self) else { return false }
        return words.magic == Superblock.magic
            || Superblock.tableOffsets.contains { (try? StoredTable(self, at: $0))?.isWhole == true }
    }
}

extension ArenaSnapshot: ArenaSource {
    func read(at offset: UInt64, count: Int) -> [UInt8] { [UInt8](bytes[Int(offset)..<Int(offset) + count]) }

    func checksum(at offset: UInt64, count: Int, continuing previous: UInt32 = 0) -> UInt32 {
        CRC32C.of(bytes[Int(offset)..<Int(offset) + count], continuing: previous)
    }

    func committed(at offset: UInt64) -> UInt64 {
        // SAFETY: slicing checks the range, which has eight bytes.
        unsafe bytes[Int(offset)..<Int(offset) + 8].withUnsafeBytes { unsafe $0.loadUnaligned(as: UInt64.self) }
    }
}

/// What moves with every change of an arena.
private struct CommitWords: Equatable {
    /// The size and the generation.
    var superblock: [UInt64] = []
    var tail: [UInt8] = []

    init(_ file: FileDescriptor) throws(SystemCallError) {
        let start = ArenaSnapshot(try file.bytes(at: 0, count: Int(Superblock.length)))
        guard start.isArena else { return }
        let generation = start.committed(at: Superblock.generationOffset)
        superblock = [start.committed(at: Superblock.sizeOffset), generation]
        let table = Superblock.tableOffset(generation: generation)
        guard let journal = (try? StoredTable(start, at: table))?.table.journal.offset else { return }
        guard journal < UInt64(Int64.max) / 2 else { return }
        tail = try file.bytes(at: journal + JournalFormat.tailOffset, count: 8)
    }
}
