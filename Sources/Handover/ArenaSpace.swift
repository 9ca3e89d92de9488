import Platform

/// Which bytes of the arena are free. Kept in memory only: what is in use follows from the journal and the trees.
struct ArenaSpace: Sendable {
    /// All sizes and offsets are multiples of this.
    static let granule: UInt64 = 64

    /// Sorted, apart from each other.
    private var free: [Extent] = []
    /// Bytes that are not free.
    private(set) var used: UInt64
    private var size: UInt64

    /// All of an arena of that size but its superblock and the ranges in use, which may touch but not overlap.
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

    /// Whether a range that is in use lies in an arena of that size, behind what is in use before it.
    private static func fits(_ range: Extent, from start: UInt64, in size: UInt64) -> Bool {
        range.offset >= start && range.offset % granule == 0 && range.length <= size
            && range.offset <= size - range.length
    }

    /// Ranges because of which there is no such space: what overlaps one before it or the arena's own, and what leaves the
    /// arena. The others lie apart from each other.
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

    /// Nothing takes a granule, too: else two ranges could begin at one place.
    static func rounded(_ length: UInt64) -> UInt64 { (max(length, 1) + granule - 1) / granule * granule }

    /// Whether `length` bytes can be taken from an arena that may grow to `limit`, so that `rest` bytes are left, in one
    /// piece.
    func has(_ length: UInt64, leaving rest: UInt64, limit: UInt64) -> Bool {
        // Asked several times in each preserve, so nothing is made for it.
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

    /// The first free run that fits, or nil.
    ///
    /// - Parameter least: the offset before which nothing is taken.
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

    /// Gives a range back and joins it with its neighbours.
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

    /// The arena has grown.
    mutating func extend(to newSize: UInt64) {
        let added = Extent(offset: size, length: newSize - size)
        size = newSize
        used += added.length
        give(added)
    }
}
