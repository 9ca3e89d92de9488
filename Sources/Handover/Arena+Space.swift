public import Platform
import SystemPackage

/// The arena's space: what is claimed, taken and given back.
extension Arena {
    /// Says which ranges are in use, besides the superblock, the journal and the trees; everything else is free.
    ///
    /// - Throws: `record`, when ranges overlap or leave the arena.
    public func claim(inUse: [Extent]) throws(ArenaError) {
        try lock.withLock { () throws(ArenaError) in
            unsafe state.space = try ArenaSpace(size: state.size, inUse: inUse + state.table.ranges)
        }
    }

    /// Takes a free range, growing the arena when there is none. Its bytes are not zeroed.
    ///
    /// Room is always left for what must not fail later: writing the journal anew, and publishing.
    ///
    /// - Parameters:
    ///   - length: in bytes.
    ///   - alignment: a power of two, 64 at least.
    /// - Throws: `space`, at the limit or when the file system is full.
    public func allocate(_ length: UInt64, alignment: UInt64 = 64) throws(ArenaError) -> Extent {
        try lock.withLock { () throws(ArenaError) in
            try makeHeadroom(length)
            return try take(length, alignment: alignment)
        }
    }

    /// As ``allocate(_:alignment:)``, out of the room that was left: for a tree.
    public func allocateReserved(_ length: UInt64, alignment: UInt64 = 64) throws(ArenaError) -> Extent {
        try lock.withLock { () throws(ArenaError) in try take(length, alignment: alignment) }
    }

    /// Gives ranges back.
    public func free(_ ranges: [Extent]) {
        lock.withLock { for range in ranges { unsafe state.space?.give(range) } }
    }

    /// Writes into a range that was allocated and that nothing committed names yet.
    public func write(_ bytes: [UInt8], at offset: UInt64) {
        precondition(offset >= Superblock.length && offset + UInt64(bytes.count) <= size)
        store.write(bytes, at: offset)
    }

    /// The checksum of a range that was allocated.
    public func checksum(of range: Extent) -> UInt32 { store.checksum(at: range.offset, count: Int(range.length)) }

    /// Makes sure that `length` bytes can be taken, and that what must not fail later has room after that. The arena grows
    /// for it now: that a file system is full is to be found out before something is let go.
    func makeHeadroom(_ length: UInt64) throws(ArenaError) {
        // A new journal has twice the room of the present records; a tree, with the room for the next boot's journal,
        // takes about as much again.
        let headroom = unsafe 6 * state.tail + (32 << 10)
        // In one piece, as they have to be.
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
            // Room in stock is good to have, but not needed.
            guard least < size else { throw error }
            size = least
            try store.grow(from: old, to: size)
        }
        store.commit(size, at: Superblock.sizeOffset)
        unsafe state.size = size
        unsafe state.space?.extend(to: size)
    }
}
