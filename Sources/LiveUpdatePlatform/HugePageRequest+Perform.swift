// SPDX-License-Identifier: Apache-2.0
import SystemPackage

extension HugePageRequest {
    /// Checks whether the request is possible. It looks for the pool, then the node, then the memory or the pages, and
    /// then the right to change the pool. It changes nothing and takes no lock, so its result holds only for the
    /// moment.
    ///
    /// - Throws: the reason why the request is not possible.
    public func plan() throws(HugePageRefusal) -> HugePagePlan {
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
    public func perform() throws(HugePageRefusal) -> HugePageChange {
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
                let onNode = try availableMemory(onNode: node)
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
