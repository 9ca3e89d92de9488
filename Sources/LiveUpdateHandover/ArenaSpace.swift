// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The free bytes of the arena. They are known in memory only, because the journal and the trees name the ranges in
/// use.
struct ArenaSpace: Sendable {
    /// The unit of all sizes and offsets, in bytes.
    static let granule: UInt64 = 64

    /// The free ranges, sorted. They neither overlap nor touch.
    private var free: [Extent] = []
    /// The number of bytes that are not free.
    private(set) var used: UInt64
    private var size: UInt64

    /// Makes the free space of an arena: all bytes except its superblock and the ranges in use. These may touch but not
    /// overlap.
    init(size: UInt64, inUse: [Extent]) throws(ArenaError) {
        self.size = size
        used = size
        var at = Superblock.length
        for range in inUse.sorted(by: { $0.offset < $1.offset }) {
            guard Self.fits(range, from: at, in: size) else {
                throw ArenaError(.record, "range \(range.offset)+\(range.length) overlaps another or the end")
            }
            addFree(from: at, to: range.offset)
            at = range.offset + Self.rounded(range.length)
        }
        addFree(from: at, to: size)
    }

    /// Whether a range in use lies in an arena of that size, after the ranges in use before it.
    private static func fits(_ range: Extent, from start: UInt64, in size: UInt64) -> Bool {
        range.offset >= start && range.offset % granule == 0 && range.length <= size
            && range.offset <= size - range.length
    }

    /// The ranges that make ``init(size:inUse:)`` fail: those that overlap an earlier range or one of the arena's own,
    /// and those that leave the arena. The others lie inside the arena and do not overlap.
    static func misplaced(_ inUse: [Extent], besides own: [Extent], size: UInt64) -> Set<Extent> {
        let own = own.filter { fits($0, from: Superblock.length, in: size) }
        var misplaced: Set<Extent> = []
        var at = Superblock.length
        for range in inUse.sorted(by: { $0.offset < $1.offset }) {
            let isApart =
                fits(range, from: at, in: size) && !own.contains { $0.offset < range.end && range.offset < $0.end }
            if isApart { at = range.offset + rounded(range.length) } else { misplaced.insert(range) }
        }
        return misplaced
    }

    /// The length in whole granules. An empty range takes a granule, too, because otherwise two ranges could begin at
    /// one place.
    static func rounded(_ length: UInt64) -> UInt64 { (max(length, 1) + granule - 1) / granule * granule }

    /// Whether `length` bytes can be taken from an arena that may grow to `limit`, so that `rest` bytes are left in one
    /// piece.
    func has(_ length: UInt64, leaving rest: UInt64, limit: UInt64) -> Bool {
        // Each preserve calls this several times, so it allocates no memory.
        let room = limit - min(size, limit)
        let isLastOpen = free.last?.end == size
        let count = free.count + (isLastOpen ? 0 : 1)
        func run(_ index: Int) -> UInt64 {
            let length = index < free.count ? free[index].length : 0
            return index == count - 1 ? length + room : length
        }
        guard let first = (0..<count).first(where: { run($0) >= length }) else { return false }
        return (0..<count).contains { run($0) - ($0 == first ? length : 0) >= rest }
    }

    private mutating func addFree(from start: UInt64, to end: UInt64) {
        guard end > start else { return }
        free.append(Extent(offset: start, length: end - start))
        used -= end - start
    }

    /// Takes the first free run that fits; nil when none fits. `least` is the lowest offset of the range.
    mutating func take(_ length: UInt64, alignment: UInt64, from least: UInt64 = 0) -> Extent? {
        let length = Self.rounded(length)
        for (index, run) in free.enumerated() where run.end > least {
            let start = (max(run.offset, least) + alignment - 1) / alignment * alignment
            guard start - run.offset <= run.length, run.length - (start - run.offset) >= length else { continue }
            split(index, from: start, to: start + length)
            used += length
            return Extent(offset: start, length: length)
        }
        return nil
    }

    private mutating func split(_ index: Int, from start: UInt64, to end: UInt64) {
        let run = free[index]
        let before = Extent(offset: run.offset, length: start - run.offset)
        let after = Extent(offset: end, length: run.end - end)
        switch (before.length > 0, after.length > 0) {
        case (true, true):
            free[index] = before
            free.insert(after, at: index + 1)
        case (true, false): free[index] = before
        case (false, true): free[index] = after
        case (false, false): free.remove(at: index)
        }
    }

    /// Frees a range, and joins it with its free neighbours.
    mutating func give(_ range: Extent) {
        let range = Extent(offset: range.offset, length: Self.rounded(range.length))
        used -= range.length
        let index = insertionIndex(range.offset)
        free.insert(range, at: index)
        join(index)
        if index > 0 { join(index - 1) }
    }

    private mutating func join(_ index: Int) {
        guard index + 1 < free.count, free[index].end == free[index + 1].offset else { return }
        free[index].length += free[index + 1].length
        free.remove(at: index + 1)
    }

    private func insertionIndex(_ offset: UInt64) -> Int {
        var low = 0
        var high = free.count
        while low < high {
            let middle = (low + high) / 2
            if free[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Adds the bytes by which the arena has grown.
    mutating func extend(to newSize: UInt64) {
        let added = Extent(offset: size, length: newSize - size)
        size = newSize
        used += added.length
        give(added)
    }
}
