// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
import SystemPackage

/// The allocation of ranges in the arena.
extension Arena {
    /// Declares which ranges are in use, besides the superblock, the journal and the trees. All other bytes are free.
    ///
    /// - Throws: `record` when ranges overlap or leave the arena.
    package func claim(inUse: [Extent]) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in
            unsafe state.space = try ArenaSpace(size: state.size, inUse: inUse + state.table.ranges)
        }
    }

    /// Allocates a range, and grows the arena when no free range fits. The bytes are not zeroed.
    ///
    /// Some room is always reserved for operations that must not fail later: a rewrite of the journal, and a
    /// publication.
    ///
    /// - Parameters:
    ///   - length: in bytes.
    ///   - alignment: a power of two, at least 64.
    /// - Returns: the range, which may be longer than `length`.
    /// - Throws: `space` at the limit or when the file system is full.
    package func allocate(_ length: UInt64, alignment: UInt64 = 64) throws(ArenaError) -> Extent {
        try lock.withLock { () throws(ArenaError) in
            try makeHeadroom(length)
            return try take(length, alignment: alignment)
        }
    }

    /// Allocates a range for a publication (a tree, or the records of a freeze or of an FLB), like
    /// ``allocate(_:alignment:)``, but may use the reserved room.
    package func allocateReserved(_ length: UInt64, alignment: UInt64 = 64) throws(ArenaError) -> Extent {
        try lock.withLock { () throws(ArenaError) in try take(length, alignment: alignment) }
    }

    /// Frees ranges.
    package func free(_ ranges: [Extent]) {
        lock.withLock { for range in ranges { unsafe state.space?.give(range) } }
    }

    /// Writes into an allocated range that no committed record or tree names yet.
    package func write(_ bytes: [UInt8], at offset: UInt64) {
        precondition(offset >= Superblock.length && offset + UInt64(bytes.count) <= size)
        store.write(bytes, at: offset)
    }

    /// The checksum of an allocated range.
    package func checksum(of range: Extent) -> UInt32 { store.checksum(at: range.offset, count: Int(range.length)) }

    /// Makes sure that `length` bytes can be allocated, and that the reserved room remains after that. If necessary the
    /// arena grows now, so that a full file system is found before any resource is released.
    func makeHeadroom(_ length: UInt64) throws(ArenaError) {
        // A new journal has twice the room of the present records. A tree takes about as much again, together with the
        // room for the next boot's journal.
        let headroom = unsafe 6 * state.tail + (32 << 10)
        // The reserved room must be in one piece, and so must the range.
        guard let space = unsafe state.space, space.has(length, leaving: headroom, limit: store.limit) else {
            throw ArenaError(.space, "its limit of \(store.limit) bytes is reached", errno: .noSpace)
        }
        let size = unsafe state.size
        if space.has(length, leaving: headroom, limit: size) { return }
        try grow(by: min(length + headroom, store.limit / Superblock.length * Superblock.length - size))
    }

    func take(_ length: UInt64, alignment: UInt64) throws(ArenaError) -> Extent {
        if let range = unsafe state.space?.take(length, alignment: alignment) { return range }
        try grow(by: length + alignment)
        if let range = unsafe state.space?.take(length, alignment: alignment) { return range }
        throw ArenaError(.space, "no room for \(length) bytes", errno: .noSpace)
    }

    func grow(by length: UInt64) throws(ArenaError) {
        let old = unsafe state.size
        let step = max(ArenaSpace.rounded(length), min(old / 2, 64 << 20))
        let page = Superblock.length
        let least = (old + length + page - 1) / page * page
        var size = max(least, min((old + step) / page * page, store.limit / page * page))
        guard size <= store.limit else {
            throw ArenaError(.space, "its limit of \(store.limit) bytes is reached", errno: .noSpace)
        }
        do throws(ArenaError) {
            try store.grow(from: old, to: size)
        } catch {
            // The additional room is useful, but not needed.
            guard least < size else { throw error }
            size = least
            try store.grow(from: old, to: size)
        }
        store.commit(size, at: Superblock.sizeOffset)
        unsafe state.size = size
        unsafe state.space?.extend(to: size)
    }
}
