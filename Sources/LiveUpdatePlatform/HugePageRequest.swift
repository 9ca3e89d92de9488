// SPDX-License-Identifier: Apache-2.0

/// An administrator's request to add pages to a pool, or to remove pages from it. The number is relative, because other
/// programs change pools, too.
///
/// 1. ``plan()`` checks whether the request is possible, and what it would do. Nothing is changed.
/// 2. ``perform()`` does it, under the lock of ``HugePageReservation``.
public struct HugePageRequest: Sendable {
    /// The direction of a change.
    public enum Action: String, CaseIterable, Codable, Sendable {
        /// Adds pages that stay in the pool: persistent pages.
        case reserve
        /// Removes pages from the pool.
        case release
    }

    /// The direction of the change.
    public var action: Action
    /// The page size of the pool.
    public var size: PageSize
    /// The number of pages to add or remove.
    public var count: UInt64
    /// The NUMA node to change; nil for the whole pool.
    public var node: Int?
    /// For a reserve: whether fewer pages are enough when there is no memory for all.
    public var acceptsFewer: Bool
    /// For a release: whether it may include pages that are in use. They become surplus pages then.
    public var acceptsSurplus: Bool
    /// Sets the persistent number. Tests replace it by a kernel that gives fewer pages.
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

/// Why a pool was not changed. The pool is as before.
public enum HugePageRefusal: Error, Equatable, Sendable {
    /// The kernel has no pool of that size. The value lists the sizes that it has.
    case noPool([PageSize])
    /// There is no such NUMA node. The value lists the nodes with a part of the pool.
    case noNode([Int])
    /// There is not enough memory, if ``HugePageReservation/spare`` is left to other uses. The value is how many new
    /// pages there is memory for.
    case noMemory(possible: UInt64)
    /// Only persistent pages can be released. The value is how many there are.
    case notPersistent(UInt64)
    /// This many of the pages to release are in use or promised.
    case inUse(UInt64)
    /// This process may not change pools.
    case noRight(SystemCallError)
    /// The kernel gave only this many pages, because memory is fragmented. They were given back.
    case fewer(UInt64)
    /// A signal came before all pages were there. The pages that were taken were given back.
    case interrupted(signal: CInt)
    /// A system call failed.
    case failed(SystemCallError)
}

/// The effect that a request would have.
public struct HugePagePlan: Equatable, Sendable {
    /// The current pool.
    public let pool: HugePagePool
    /// Pages that become persistent, or cease to be persistent.
    public let count: UInt64
    /// For a reserve: surplus pages that become persistent instead of new pages. They are in use already.
    public let adopted: UInt64
    /// For a release: pages that become surplus, because they are in use or promised. They vanish when they are freed.
    public let becomingSurplus: UInt64
}

/// The effect of a request.
public struct HugePageChange: Equatable, Sendable {
    /// The pool before the change.
    public let before: HugePagePool
    /// The pool after the change.
    public let after: HugePagePool
    /// Pages that became persistent, or ceased to be persistent.
    public let count: UInt64
}

extension HugePagePool {
    /// Reads a pool until two reads in a row are equal. The kernel has one file per number, so a surplus page that
    /// comes or goes between two of them would count as persistent. After 100 reads the last one is used.
    static func steady(_ size: PageSize) throws(SystemCallError) -> HugePagePool {
        var pool = try HugePagePool(size)
        for _ in 0..<100 {
            let again = try HugePagePool(size)
            if again == pool { break }
            pool = again
        }
        return pool
    }

    /// The persistent pages of the pool, or of one node.
    func persistent(onNode node: Int?) -> UInt64 {
        node.map { node in nodes.first { $0.id == node }?.persistent ?? 0 } ?? persistent
    }

    /// The surplus pages of the pool, or of one node.
    func surplus(onNode node: Int?) -> UInt64 {
        node.map { node in nodes.first { $0.id == node }?.surplus ?? 0 } ?? surplus
    }

    /// How many pages a smaller persistent number would free at once. The other pages become surplus. The kernel frees
    /// pages only while more pages are persistent than are in use or promised, and surplus pages count as in use.
    func releasable(onNode node: Int?) -> UInt64 {
        let all = available - min(surplus, available)
        return node.map { node in min(all, nodes.first { $0.id == node }?.free ?? 0) } ?? all
    }
}
