// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
package import SystemPackage

/// A copy of an arena's bytes at one moment, also while a process runs the arena. Nothing is locked, mapped or written.
///
/// 1. The commit words are read: the size, the generation, and the journal's tail.
/// 2. The file is copied, from its start to its end.
/// 3. The commit words are read again. If they are unchanged, all parts of the copy belong together. Otherwise the file
///    is copied again.
///
/// Unhappy path: commits come faster than a large arena can be copied. As long as the generation stays the same, the
/// journal in the copy is true up to the tail in the copy. Only the ranges that its records name may have changed: see
/// ``isSettled``.
package struct ArenaSnapshot: Sendable {
    /// The size of the file in bytes.
    package let fileSize: UInt64
    /// Whether another process has locked the arena, and so runs it; nil when the kernel does not say.
    package let isLocked: Bool?
    /// Whether nothing was committed during the copy.
    package private(set) var isSettled = true
    /// The file's first bytes: the whole arena, or the first page of a file that is no arena.
    let bytes: [UInt8]

    /// The default limit of bytes to copy, equal to the default limit of an arena.
    package static let defaultLimit: UInt64 = 1 << 30
    private static let attempts = 100

    /// Makes a snapshot of bytes that do not change.
    package init(_ bytes: [UInt8]) { self.init(bytes, fileSize: UInt64(bytes.count), isLocked: false) }

    private init(_ bytes: [UInt8], fileSize: UInt64, isLocked: Bool?) {
        self.bytes = bytes
        self.fileSize = fileSize
        self.isLocked = isLocked
    }

    /// Copies an arena, or the start of a file that is no arena.
    ///
    /// - Parameters:
    ///   - file: the file of the arena, open at least for reading.
    ///   - limit: the most bytes to copy.
    /// - Throws: `owner` (EAGAIN) when the arena changed during each of many attempts; `space` (EFBIG) when the arena
    ///   is larger than the limit; `size` with the error of fstat(2) or pread(2).
    package init(of file: FileDescriptor, limit: UInt64 = defaultLimit) throws(ArenaError) {
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

    /// - Returns: the last usable copy, if there is one.
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
        // If the file is much longer than the arena, only the arena is read.
        let own = (try? SuperblockWords(start).size) ?? 0
        let count = min(fileSize, limit, max(own, defaultLimit))
        let bytes = try file.bytes(at: 0, count: Int(clamping: count))
        // The file may have been truncated since its size was read.
        let size = UInt64(bytes.count) < count ? UInt64(bytes.count) : fileSize
        return ArenaSnapshot(bytes, fileSize: size, isLocked: isLocked)
    }

    /// Whether the first page is that of an arena: it has the magic, or one of its tables is whole.
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

/// The words that change with every commit of an arena.
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
