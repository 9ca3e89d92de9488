/// An administrator's wish: so many pages more, or fewer, in a pool. By difference, because others change pools, too.
///
/// 1. ``plan()`` looks whether it is possible, and what it would do. Nothing is changed.
/// 2. ``perform()`` does it, under the lock of ``HugePageReservation``.
public struct HugePageRequest: Sendable {
    /// More, or fewer.
    public enum Action: String, CaseIterable, Codable, Sendable {
        /// Pages that stay in the pool: the persistent ones.
        case reserve
        /// Pages that leave the pool.
        case release
    }

    /// More, or fewer.
    public var action: Action
    /// Which pool.
    public var size: PageSize
    /// In pages.
    public var count: UInt64
    /// Only that NUMA node's part of the pool.
    public var node: Int?
    /// In a reserve: whether fewer pages will do, when more cannot be had.
    public var acceptsFewer: Bool
    /// In a release: whether pages that are in use may be among them, which then are surplus pages.
    public var acceptsSurplus: Bool
    /// Sets the persistent number. Tests put a kernel here that gives fewer pages.
    package var write: @Sendable (_ count: UInt64, _ size: PageSize, _ node: Int?) throws(SystemCallError) -> Void

    /// Describes a change.
    public init(
        _ action: Action, _ count: UInt64, of size: PageSize, node: Int? = nil, acceptsFewer: Bool = false,
        acceptsSurplus: Bool = false
    ) {
        self.action = action
        self.size = size
        self.count = count
        self.node = node
        self.acceptsFewer = acceptsFewer
        self.acceptsSurplus = acceptsSurplus
        write = { (count, size, node) throws(SystemCallError) in
            try HugePagePool.setPersistent(count, of: size, node: node)
        }
    }
}

/// Why a pool was not changed. It is as it was before.
public enum HugePageRefusal: Error, Equatable, Sendable {
    /// The kernel has no pool of that size; those that it has.
    case noPool([PageSize])
    /// There is no such NUMA node; those that have a part of the pool.
    case noNode([Int])
    /// There is not the memory, with ``HugePageReservation/spare`` left to others; how many new pages there is memory for.
    case noMemory(possible: UInt64)
    /// More than the persistent pages cannot be released.
    case notPersistent(UInt64)
    /// So many of the pages to be released are in use or promised.
    case inUse(UInt64)
    /// Pools may not be changed.
    case noRight(SystemCallError)
    /// The kernel gave only so many, which were given back: memory is in pieces.
    case fewer(UInt64)
    /// A signal came before all pages were there, and what was taken was given back.
    case interrupted(signal: CInt)
    /// A system call failed.
    case failed(SystemCallError)
}

/// What a request would do.
public struct HugePagePlan: Equatable, Sendable {
    /// The pool as it is.
    public let pool: HugePagePool
    /// Pages that become persistent, or cease to be.
    public let count: UInt64
    /// In a reserve: surplus pages, which are in use already and become persistent, instead of new ones.
    public let adopted: UInt64
    /// In a release: pages that become surplus, because they are in use or promised. They vanish when they are freed.
    public let becomingSurplus: UInt64
}

/// What a request has done.
public struct HugePageChange: Equatable, Sendable {
    /// The pool that was found.
    public let before: HugePagePool
    /// The pool that was left.
    public let after: HugePagePool
    /// Pages that became persistent, or ceased to be.
    public let count: UInt64
}

extension HugePagePool {
    /// Reads a pool until it is the same twice: its numbers are read one after the other, and a surplus page that comes
    /// or goes in between would be taken for a persistent one. A pool that never rests is taken as it is.
    static func steady(_ size: PageSize) throws(SystemCallError) -> HugePagePool {
        var pool = try HugePagePool(size)
        for _ in 0..<100 {
            let again = try HugePagePool(size)
            if again == pool { break }
            pool = again
        }
        return pool
    }

    /// The persistent pages, of all or of a node.
    func persistent(onNode node: Int?) -> UInt64 {
        node.map { node in nodes.first { $0.id == node }?.persistent ?? 0 } ?? persistent
    }

    /// The surplus pages, of all or of a node.
    func surplus(onNode node: Int?) -> UInt64 {
        node.map { node in nodes.first { $0.id == node }?.surplus ?? 0 } ?? surplus
    }

    /// How many pages a smaller persistent number sets free at once. The others become surplus, as the kernel never goes
    /// below what is in use or promised, with the surplus pages that there are already.
    func releasable(onNode node: Int?) -> UInt64 {
        let all = available - min(surplus, available)
        return node.map { node in min(all, nodes.first { $0.id == node }?.free ?? 0) } ?? all
    }
}
