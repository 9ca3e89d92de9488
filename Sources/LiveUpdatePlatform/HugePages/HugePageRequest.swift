// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// An administrator's request to add pages to a pool, or to remove pages from it. The number is relative, because other
/// programs change pools, too.
///
/// 1. ``plan()`` checks whether the request is possible, and what it would do. Nothing is changed.
/// 2. ``perform()`` does it, under the lock of ``HugePageReservation``.
package struct HugePageRequest: Sendable {
    /// The direction of a change.
    package enum Action: String, CaseIterable, Codable, Sendable {
        /// Adds pages that stay in the pool: persistent pages.
        case reserve
        /// Removes pages from the pool.
        case release
    }

    /// The direction of the change.
    package var action: Action
    /// The page size of the pool.
    package var size: PageSize
    /// The number of pages to add or remove.
    package var count: UInt64
    /// The NUMA node to change; nil for the whole pool.
    package var node: Int?
    /// For a reserve: whether fewer pages are enough when there is no memory for all.
    package var acceptsFewer: Bool
    /// For a release: whether it may include pages that are in use. They become surplus pages then.
    package var acceptsSurplus: Bool
    /// Sets the persistent number. Tests replace it by a kernel that gives fewer pages.
    package var write: @Sendable (_ count: UInt64, _ size: PageSize, _ node: Int?) throws(SystemCallError) -> Void

    /// Describes a change.
    package init(
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
package enum HugePageRefusal: Error, Equatable, Sendable {
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
package struct HugePagePlan: Equatable, Sendable {
    /// The current pool.
    package let pool: HugePagePool
    /// Pages that become persistent, or cease to be persistent.
    package let count: UInt64
    /// For a reserve: surplus pages that become persistent instead of new pages. They are in use already.
    package let adopted: UInt64
    /// For a release: pages that become surplus, because they are in use or promised. They vanish when they are freed.
    package let becomingSurplus: UInt64
}

/// The effect of a request.
package struct HugePageChange: Equatable, Sendable {
    /// The pool before the change.
    package let before: HugePagePool
    /// The pool after the change.
    package let after: HugePagePool
    /// Pages that became persistent, or ceased to be persistent.
    package let count: UInt64
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

extension HugePageRequest {
    /// Checks whether the request is possible. It looks for the pool, then the node, then the memory or the pages, and
    /// then the right to change the pool. It changes nothing and takes no lock, so its result holds only for the
    /// moment.
    ///
    /// - Throws: the reason why the request is not possible.
    package func plan() throws(HugePageRefusal) -> HugePagePlan {
        let plan = try planned(try pool())
        do {
            try HugePagePool.checkRight(toChange: size, node: node)
        } catch {
            throw Self.refusal(error)
        }
        return plan
    }

    /// Changes the pool, and reads it again to see the result.
    ///
    /// - Throws: the reason why the pool was not changed. The pool is as before then.
    package func perform() throws(HugePageRefusal) -> HugePageChange {
        _ = try plan()
        let result: Result<HugePageChange, HugePageRefusal>
        do {
            // The pool and the memory may have changed before this process gets the lock.
            result = try HugePageReservation.underLock { () throws(SystemCallError) in
                Result { () throws(HugePageRefusal) in try change() }
            }
        } catch {
            throw Self.refusal(error)
        }
        return try result.get()
    }

    private func pool() throws(HugePageRefusal) -> HugePagePool {
        let pool: HugePagePool
        do {
            pool = try HugePagePool.steady(size)
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw .failed(error) }
            throw .noPool(((try? HugePagePool.all()) ?? []).map(\.pageSize))
        }
        if let node, !pool.nodes.contains(where: { $0.id == node }) { throw .noNode(pool.nodes.map(\.id)) }
        return pool
    }

    private func planned(_ pool: HugePagePool) throws(HugePageRefusal) -> HugePagePlan {
        switch action {
        case .reserve:
            // The kernel first makes surplus pages persistent.
            let adopted = min(pool.surplus(onNode: node), count)
            let possible = try possiblePages(pool)
            guard count - adopted <= possible || acceptsFewer && adopted + possible > 0 else {
                throw .noMemory(possible: possible)
            }
            return HugePagePlan(
                pool: pool, count: adopted + min(count - adopted, possible), adopted: adopted, becomingSurplus: 0)
        case .release:
            let persistent = pool.persistent(onNode: node)
            guard count <= persistent else { throw .notPersistent(persistent) }
            let surplus = count - min(count, pool.releasable(onNode: node))
            guard surplus == 0 || acceptsSurplus else { throw .inUse(surplus) }
            return HugePagePlan(pool: pool, count: count, adopted: 0, becomingSurplus: surplus)
        }
    }

    /// How many new pages there is memory for. Only an attempt shows whether that memory is fragmented.
    private func possiblePages(_ pool: HugePagePool) throws(HugePageRefusal) -> UInt64 {
        do throws(SystemCallError) {
            let spare = HugePageReservation.spare
            var room = try availableMemory()
            room -= min(spare, room)
            if let node {
                let onNode = try MachineNodes.own.availableMemory(onNode: node)
                room = min(room, onNode - min(spare / UInt64(max(pool.nodes.count, 1)), onNode))
            }
            return room / size.bytes
        } catch {
            throw .failed(error)
        }
    }

    private func change() throws(HugePageRefusal) -> HugePageChange {
        let plan = try planned(try pool())
        let before = plan.pool.persistent(onNode: node)
        let wanted = action == .reserve ? before + plan.count : before - plan.count
        let (result, signal) = InterruptHold.holding {
            Result { () throws(SystemCallError) in try write(wanted, size, node) }
        }
        let after: HugePagePool
        do throws(HugePageRefusal) {
            after = try pool()
        } catch {
            // The result of the change cannot be read.
            try? HugePagePool.setPersistent(before, of: size, node: node)
            throw error
        }
        let now = after.persistent(onNode: node)
        let done = action == .reserve ? now - min(before, now) : before - min(now, before)
        let isWhole = done >= plan.count || acceptsFewer && signal == nil && done > 0
        if case .success = result, isWhole || action == .release {
            return HugePageChange(before: plan.pool, after: after, count: done)
        }
        if done > 0, action == .reserve { try giveBack(done) }
        if case .failure(let error) = result { throw Self.refusal(error) }
        throw signal.map { .interrupted(signal: $0) } ?? .fewer(done)
    }

    /// Takes pages out of the pool again, relative to its current number.
    private func giveBack(_ count: UInt64) throws(HugePageRefusal) {
        let now = try pool().persistent(onNode: node)
        do {
            try HugePagePool.setPersistent(now - min(count, now), of: size, node: node)
        } catch {
            throw .failed(error)
        }
    }

    private static func refusal(_ error: SystemCallError) -> HugePageRefusal {
        [.permissionDenied, .notPermitted, .readOnlyFileSystem].contains(error.errno) ? .noRight(error) : .failed(error)
    }
}
