import Handover
import Platform
import SystemPackage

/// The life of an FLB's two states, and its getters. All of it under the monitor: callbacks of one FLB never overlap,
/// and count, data and object change together.
extension Boot {
    private func context(
        _ flb: LiveFLB, _ storage: Storage? = nil, users: [FLBUser] = []
    ) -> FLBContext {
        FLBContext(
            direction: flb.direction, data: flb.data, storage: storage ?? Storage(arena),
            flbs: FLBGetters(boot: self), users: users)
    }

    /// Runs a callback of an FLB that nobody else is in.
    private func callback<Value>(
        _ flb: LiveFLB, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        flb.isBusy = true
        defer { flb.isBusy = false }
        return try body()
    }

    // MARK: Outgoing

    /// Counts a file on FLBs, in link order; the first user of each preserves it.
    ///
    /// - Throws: ENODEV when the owner of one is going away, or what its preserve throws. Those counted before it are
    ///   undone in reverse order.
    func countUp(_ flbs: [any FileLifecycleBound]) throws(LiveUpdateError) -> [LiveFLB] {
        // A session that ends has the monitor for a long time, if it has many files with FLBs.
        guard !flbs.isEmpty else { return [] }
        return try flbMonitor.enter { () throws(LiveUpdateError) in
            var counted: [LiveFLB] = []
            do throws(LiveUpdateError) {
                for flb in flbs { counted.append(try countUp(flb)) }
            } catch {
                countDownAfterFailure(counted)
                throw error
            }
            return counted
        }
    }

    private func countUp(_ flb: any FileLifecycleBound) throws(LiveUpdateError) -> LiveFLB {
        flbMonitor.wait { outgoing(flb)?.isBusy != true }
        if let state = outgoing(flb) {
            state.users += 1
            return state
        }
        return try preserve(flb)
    }

    private func outgoing(_ flb: any FileLifecycleBound) -> LiveFLB? {
        unsafe live.values.first { $0.direction == .outgoing && $0.definition === flb }
    }

    private func preserve(_ flb: any FileLifecycleBound) throws(LiveUpdateError) -> LiveFLB {
        try checkOwner(of: flb)
        var state = FLBState(
            id: FLBID(value: shared.with { $0.takeID() }), kind: .outgoing, compatible: flb.compatible, data: 0,
            ranges: [], count: 1, retrieved: .done)
        // It is known before its callback runs, so that asking for it in there can be refused.
        let placeholder = LiveFLB(state, definition: flb, object: nil)
        unsafe live[state.id] = placeholder
        let storage = Storage(arena)
        do throws(LiveUpdateError) {
            let (data, object) = try callback(placeholder) {
                () throws(LiveUpdateError) in try flb.preserveErased(context(placeholder, storage))
            }
            state.data = data
            state.ranges = storage.sealed()
            let preserved = LiveFLB(state, definition: flb, object: object)
            unsafe live[state.id] = preserved
            return preserved
        } catch {
            unsafe live[state.id] = nil
            storage.discard()
            throw error
        }
    }

    private func checkOwner(of flb: any FileLifecycleBound) throws(LiveUpdateError) {
        if let owner = flb.owner, owner.isGoingAway {
            throw LiveUpdateError(
                .operationNotSupportedByDevice,
                "\(owner.name), which provides FLB \"\(flb.compatible)\", is going away",
                remedy: "try again when it has come back")
        }
    }

    /// Undoes counting up of a file that was not committed.
    func countDownAfterFailure(_ counted: [LiveFLB]) {
        flbMonitor.enter {
            waitForLoans(ofLastUsers: [counted.map(\.id)])
            let gone = countDownOutgoing(counted.map(\.id))
            arena.free(gone.flatMap(\.ranges).map(\.range))
        }
    }

    /// Counts a file down, in reverse link order; the last user of each unpreserves it.
    ///
    /// - Returns: those that are gone: their ranges are to be freed once that is committed.
    func countDownOutgoing(_ ids: [FLBID]) -> [LiveFLB] {
        var gone: [LiveFLB] = []
        for id in ids.reversed() {
            guard let flb = unsafe live[id] else { continue }
            flb.users -= 1
            guard flb.users == 0 else { continue }
            try? resumeIfNeeded(flb)
            if let definition = flb.definition, let object = flb.object {
                flb.isBusy = true
                definition.unpreserveErased(object, context(flb))
                flb.isBusy = false
            }
            flb.isGone = true
            unsafe live[id] = nil
            gone.append(flb)
        }
        return gone
    }

    /// With the monitor entered: waits until nothing that these files are the last users of is lent. From then on the
    /// monitor is not let go before they are counted down and that is committed, so that both always agree.
    ///
    /// New loans are still given out while it waits: who has one may ask for another, and must not wait for who waits
    /// here.
    func waitForLoans(ofLastUsers files: [[FLBID]]) {
        flbMonitor.wait {
            var here: [FLBID: UInt64] = [:]
            for id in files.joined() { here[id, default: 0] += 1 }
            return here.allSatisfy { id, count in
                guard let flb = unsafe live[id] else { return true }
                return flb.users > count || flb.loans == 0
            }
        }
    }

    /// After a crash the live object is made again when it is first needed.
    private func resumeIfNeeded(_ flb: LiveFLB) throws(LiveUpdateError) {
        guard flb.object == nil, flb.retrieved == .done, let definition = flb.definition else { return }
        flb.object = try callback(flb) { () throws(LiveUpdateError) -> any Sendable in
            try definition.resumeErased(context(flb))
        }
    }

    // MARK: Incoming

    /// Counts a finished file down, in reverse link order; the last one finishes the FLB.
    func countDownIncoming(_ ids: [FLBID]) -> [LiveFLB] {
        var gone: [LiveFLB] = []
        for id in ids.reversed() {
            guard let flb = unsafe live[id], !flb.isGone else { continue }
            flb.users -= 1
            guard flb.users == 0 else { continue }
            finish(flb)
            gone.append(flb)
        }
        return gone
    }

    /// Retrieves it first when nobody had: so that it can be finished. When that fails, too, it is given up.
    private func finish(_ flb: LiveFLB) {
        if flb.definition == nil { flb.definition = shared.with { $0.registry.flb(flb.compatible) } }
        try? makeObject(flb)
        if let definition = flb.definition, let object = flb.object {
            flb.isBusy = true
            definition.finishErased(object, context(flb))
            flb.isBusy = false
        }
        flb.object = nil
        flb.isGone = true
    }

    /// - Throws: the remembered error, ENODEV when the owner is going away, or what retrieve throws.
    private func makeObject(_ flb: LiveFLB) throws(LiveUpdateError) {
        guard let definition = flb.definition else { return }
        switch flb.retrieved {
        case .done: try resumeIfNeeded(flb)
        case .failed(let errno): throw remembered(Errno(rawValue: errno), "FLB \"\(flb.compatible)\"")
        case .notTried:
            try checkOwner(of: definition)
            try checkRecords(flb.ranges, of: "FLB \"\(flb.compatible)\"")
            do throws(LiveUpdateError) {
                flb.object = try callback(flb) { () throws(LiveUpdateError) -> any Sendable in
                    try definition.retrieveErased(context(flb))
                }
                flb.retrieved = .done
            } catch {
                flb.retrieved = .failed(error.errno)
                throw error
            }
        }
    }

    // MARK: Getters

    func withIncoming<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try ensureOpen()
        try checkOpen()
        let loan = try flbMonitor.enter { () throws(LiveUpdateError) in
            let state = try incoming(flb)
            return (state, try flb.typed(try borrow(state)))
        }
        return try lend(loan.0) { () throws(LiveUpdateError) in try body(loan.1) }
    }

    /// - Throws: ENODATA in the first boot, ENOENT when it did not come, ENODATA when it is finished, EDEADLK.
    private func incoming(_ flb: any FileLifecycleBound) throws(LiveUpdateError) -> LiveFLB {
        let (number, known) = shared.with { ($0.state.updateNumber, $0.state.incomingFLB(flb.compatible)) }
        guard number > 0 else {
            throw LiveUpdateError(.noData, "no update brought anything to this boot", remedy: "ask after an update")
        }
        guard let known, let state = unsafe live[known.id] else {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "FLB \"\(flb.compatible)\" is not among what came",
                remedy: "only an FLB that had files in the previous boot comes")
        }
        try waitUntilIdle(state)
        guard !state.isGone else {
            throw LiveUpdateError(
                .noData, "FLB \"\(flb.compatible)\" is finished",
                remedy: "its last file was finished: ask for it before that")
        }
        // The registered one has the say; without it, whoever asks first.
        if state.definition == nil { state.definition = shared.with { $0.registry.flb(flb.compatible) } ?? flb }
        return state
    }

    /// Waits for another thread's callback; one's own is a mistake.
    private func waitUntilIdle(_ flb: LiveFLB) throws(LiveUpdateError) {
        guard !(flb.isBusy && flbMonitor.isNested) else {
            throw LiveUpdateError(
                .deadlock, "FLB \"\(flb.compatible)\" is asked for inside its own callback",
                remedy: "use what the callback was given")
        }
        flbMonitor.wait { !flb.isBusy }
    }

    private func borrow(_ flb: LiveFLB) throws(LiveUpdateError) -> any Sendable {
        // It may have been published while this thread waited.
        try checkOpen()
        let before = flb.retrieved
        do throws(LiveUpdateError) {
            if flb.object == nil {
                if before == .notTried { try ensureRoom() }
                try makeObject(flb)
            }
        } catch {
            if flb.retrieved != before { try commit([.flbRetrieved(flb.id, flb.retrieved)]) }
            throw error
        }
        if flb.retrieved != before { try commit([.flbRetrieved(flb.id, flb.retrieved)]) }
        guard let object = flb.object else {
            throw LiveUpdateError(
                .operationNotSupportedByDevice, "FLB \"\(flb.compatible)\" has no live object",
                remedy: "register it before it is asked for")
        }
        flb.loans += 1
        return object
    }

    private func lend<Value>(
        _ flb: LiveFLB, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        defer { flbMonitor.enter { flb.loans -= 1 } }
        return try gate.lending(body)
    }

    func withOutgoing<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object?) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try ensureOpen()
        try checkOpen()
        let loan = try flbMonitor.enter { () throws(LiveUpdateError) -> (LiveFLB, FLB.Object)? in
            guard let busy = outgoing(flb) else { return nil }
            try waitUntilIdle(busy)
            guard let state = outgoing(flb) else { return nil }
            return (state, try flb.typed(try borrow(state)))
        }
        guard let loan else {
            return try gate.lending { () throws(LiveUpdateError) in try body(nil) }
        }
        return try lend(loan.0) { () throws(LiveUpdateError) in try body(loan.1) }
    }

    // MARK: An update

    /// What travels of the outgoing FLBs: each says it now, from the files that travel.
    ///
    /// - Throws: what a serialize throws.
    func serializeFLBs(isReserved: Bool) throws(LiveUpdateError) -> [FLBID: (data: UInt64, ranges: [StoredRange])] {
        try flbMonitor.enter { () throws(LiveUpdateError) in
            let state = shared.with { $0.state }
            var users: [FLBID: [FLBUser]] = [:]
            for file in state.files.values {
                for id in file.flbs {
                    users[id, default: []].append(
                        FLBUser(compatible: file.compatible, data: file.data, identity: file.identity))
                }
            }
            var serialized: [FLBID: (data: UInt64, ranges: [StoredRange])] = [:]
            do throws(LiveUpdateError) {
                for known in state.flbs(.outgoing) {
                    guard let flb = unsafe live[known.id] else { continue }
                    serialized[known.id] = try serialize(flb, users: users[known.id] ?? [], isReserved)
                }
            } catch {
                arena.free(serialized.values.flatMap(\.ranges).map(\.range))
                throw error
            }
            return serialized
        }
    }

    private func serialize(
        _ flb: LiveFLB, users: [FLBUser], _ isReserved: Bool
    ) throws(LiveUpdateError) -> (data: UInt64, ranges: [StoredRange]) {
        try resumeIfNeeded(flb)
        guard let definition = flb.definition, let object = flb.object else { return (flb.data, []) }
        let storage = Storage(arena, isReserved: isReserved)
        do throws(LiveUpdateError) {
            let data = try callback(flb) { () throws(LiveUpdateError) in
                try definition.serializeErased(object, context(flb, storage, users: users))
            }
            return (data, storage.sealed())
        } catch {
            storage.discard()
            throw error
        }
    }

    /// Finishes what came with sessions that the previous boot was told to discard.
    func finishDiscarded() throws(LiveUpdateError) {
        try request(.exclusive) { () throws(LiveUpdateError) in
            for flb in shared.with({ $0.state.flbs(.discarded) }) {
                try ensureRoom()
                flbMonitor.enter {
                    let definition = shared.with { $0.registry.flb(flb.compatible) }
                    finish(LiveFLB(flb, definition: definition, object: nil))
                }
                try commit([.flbRemoved(flb.id)])
                arena.free(flb.ranges.map(\.range))
            }
        }
    }
}
