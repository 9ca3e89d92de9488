// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The FLBs of a boot with their live objects: both states of each FLB, its counts, and the loans of its getters.
///
/// 1. Outgoing: the first file preserves the FLB, later files are counted, and the last file that leaves unpreserves
///    it.
/// 2. An update: each outgoing FLB names its data for the next boot.
/// 3. Incoming: the first getter retrieves the object, and the last file that is finished finishes the FLB.
///
/// Everything is under the monitor: callbacks of one FLB never overlap, and count, data and object change together.
/// The table commits nothing but the result of a retrieve. The requests commit the counts, before they leave the
/// monitor.
final class FLBTable: Sendable {
    private let monitor = Monitor()
    /// The running states, guarded by the monitor.
    private nonisolated(unsafe) var live: [FLBID: LiveFLB] = [:]

    /// Takes the FLBs of a boot that begins or goes on. Their objects are made when they are first needed.
    func adopt(_ state: BootState, _ registry: Registry) {
        monitor.enter {
            for flb in state.flbs.values where flb.kind != .discarded {
                unsafe live[flb.id] = LiveFLB(flb, definition: registry.flb(flb.compatible), object: nil)
            }
        }
    }

    /// Runs the callbacks of files that leave, and enters the monitor for that if any of the files has an FLB.
    func enter(for files: [FileState], _ body: () throws(LiveUpdateError) -> Void) throws(LiveUpdateError) {
        // The end of a session with many files takes long, so the monitor is entered only if one of them has an FLB.
        guard files.contains(where: { !$0.flbs.isEmpty }) else { return try body() }
        try monitor.enter(body)
    }

    /// Runs `body` at a time when no callback of an FLB runs, and lets none begin meanwhile.
    func whenIdle(_ body: () -> Void) {
        monitor.enter {
            monitor.wait { unsafe live.values.allSatisfy { !$0.isBusy } }
            body()
        }
    }

    private func context(
        _ flb: LiveFLB, _ boot: Boot, _ storage: Storage? = nil, users: [FLBUser] = []
    ) -> FLBContext {
        FLBContext(
            direction: flb.direction, data: flb.data, storage: storage ?? boot.reading, flbs: boot.flbGetters,
            users: users)
    }

    /// Runs a callback of an FLB while no other callback of it runs.
    private func callback<Value>(
        _ flb: LiveFLB, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        flb.isBusy = true
        defer { flb.isBusy = false }
        return try body()
    }

    // MARK: Outgoing

    /// Counts a file on FLBs, in link order. The first file of an FLB preserves it.
    ///
    /// - Returns: the records of the FLBs. The journal has no record yet of an FLB that was preserved now.
    /// - Throws: ENODEV when the owner of an FLB is going away, or the error of its preserve. The FLBs that were
    ///   counted before are undone in reverse order.
    func countUp(_ flbs: [any FileLifecycleBound], _ boot: Boot) throws(LiveUpdateError) -> [FLBState] {
        guard !flbs.isEmpty else { return [] }
        return try monitor.enter { () throws(LiveUpdateError) in
            var counted: [LiveFLB] = []
            do throws(LiveUpdateError) {
                for flb in flbs { counted.append(try countUp(flb, boot)) }
            } catch {
                countDownAfterFailure(counted.map(\.id), boot)
                throw error
            }
            return counted.map(\.record)
        }
    }

    private func countUp(_ flb: any FileLifecycleBound, _ boot: Boot) throws(LiveUpdateError) -> LiveFLB {
        monitor.wait { outgoing(flb)?.isBusy != true }
        if let state = outgoing(flb) {
            state.users += 1
            return state
        }
        return try preserve(flb, boot)
    }

    private func outgoing(_ flb: any FileLifecycleBound) -> LiveFLB? {
        unsafe live.values.first { $0.direction == .outgoing && $0.definition === flb }
    }

    private func preserve(_ flb: any FileLifecycleBound, _ boot: Boot) throws(LiveUpdateError) -> LiveFLB {
        try checkOwner(of: flb)
        var state = FLBState(
            id: FLBID(value: boot.takeID()), kind: .outgoing, compatible: flb.compatible, data: 0,
            ranges: [], count: 1, retrieved: .done)
        // The FLB is in the table before its callback runs, so that a getter inside the callback can be refused.
        let placeholder = LiveFLB(state, definition: flb, object: nil)
        unsafe live[state.id] = placeholder
        let storage = Storage(boot.arena)
        do throws(LiveUpdateError) {
            let (data, object) = try callback(placeholder) {
                () throws(LiveUpdateError) in try flb.preserveErased(context(placeholder, boot, storage))
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

    /// Undoes the counts of a file that was not committed.
    func countDownAfterFailure(_ counted: [FLBID], _ boot: Boot) {
        monitor.enter {
            waitForLoans(ofLastUsers: [counted])
            boot.arena.free(countDownOutgoing(counted, boot))
        }
    }

    /// Counts a file down, in reverse link order. The last file of an FLB unpreserves it.
    ///
    /// - Returns: the ranges in the arena of removed FLBs. The caller frees them after the commit.
    func countDownOutgoing(_ ids: [FLBID], _ boot: Boot) -> [Extent] {
        var gone: [Extent] = []
        for id in ids.reversed() {
            guard let flb = unsafe live[id] else { continue }
            flb.users -= 1
            guard flb.users == 0 else { continue }
            try? resumeIfNeeded(flb, boot)
            if let definition = flb.definition, let object = flb.object {
                flb.isBusy = true
                definition.unpreserveErased(object, context(flb, boot))
                flb.isBusy = false
            }
            flb.isGone = true
            unsafe live[id] = nil
            gone += flb.ranges.map(\.range)
        }
        return gone
    }

    /// Waits until the FLBs that only these files use have no loans. The caller has entered the monitor, and stays in
    /// it until the files are counted down and the counts are committed, so that the table and the journal always
    /// agree.
    ///
    /// New loans are still given while this waits. The holder of a loan may ask for another one. If it had to wait for
    /// this call, the two threads would wait for each other.
    func waitForLoans(ofLastUsers files: [[FLBID]]) {
        monitor.wait {
            var here: [FLBID: UInt64] = [:]
            for id in files.joined() { here[id, default: 0] += 1 }
            return here.allSatisfy { id, count in
                guard let flb = unsafe live[id] else { return true }
                return flb.users > count || flb.loans == 0
            }
        }
    }

    /// Makes the live object again when it is first needed after a crash.
    private func resumeIfNeeded(_ flb: LiveFLB, _ boot: Boot) throws(LiveUpdateError) {
        guard flb.object == nil, flb.retrieved == .done, let definition = flb.definition else { return }
        flb.object = try callback(flb) { () throws(LiveUpdateError) -> any Sendable in
            try definition.resumeErased(context(flb, boot))
        }
    }

    // MARK: Incoming

    /// Counts a finished file down, in reverse link order. The last file of an FLB finishes it.
    ///
    /// - Returns: the ranges in the arena of finished FLBs. The caller frees them after the commit.
    func countDownIncoming(_ ids: [FLBID], _ boot: Boot) -> [Extent] {
        var gone: [Extent] = []
        for id in ids.reversed() {
            guard let flb = unsafe live[id], !flb.isGone else { continue }
            flb.users -= 1
            guard flb.users == 0 else { continue }
            finish(flb, boot)
            gone += flb.ranges.map(\.range)
        }
        return gone
    }

    /// Finishes an FLB. If no getter has retrieved it, it is retrieved first. If that fails, it is dropped without a
    /// finish.
    private func finish(_ flb: LiveFLB, _ boot: Boot) {
        if flb.definition == nil { flb.definition = boot.registry.flb(flb.compatible) }
        try? makeObject(flb, boot)
        if let definition = flb.definition, let object = flb.object {
            flb.isBusy = true
            definition.finishErased(object, context(flb, boot))
            flb.isBusy = false
        }
        flb.object = nil
        flb.isGone = true
    }

    /// - Throws: the remembered error, ENODEV when the owner is going away, or the error of retrieve.
    private func makeObject(_ flb: LiveFLB, _ boot: Boot) throws(LiveUpdateError) {
        guard let definition = flb.definition else { return }
        switch flb.retrieved {
        case .done: try resumeIfNeeded(flb, boot)
        case .failed(let errno): throw boot.remembered(Errno(rawValue: errno), "FLB \"\(flb.compatible)\"")
        case .notTried:
            try checkOwner(of: definition)
            try boot.checkRecords(flb.ranges, of: "FLB \"\(flb.compatible)\"")
            do throws(LiveUpdateError) {
                flb.object = try callback(flb) { () throws(LiveUpdateError) -> any Sendable in
                    try definition.retrieveErased(context(flb, boot))
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
        _ flb: FLB, _ boot: Boot, _ body: (FLB.Object) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try boot.ensureOpen()
        try boot.checkOpen()
        let loan = try monitor.enter { () throws(LiveUpdateError) in
            let state = try incoming(flb, boot)
            return (state, try flb.typed(try borrow(state, boot)))
        }
        return try lend(loan.0, boot) { () throws(LiveUpdateError) in try body(loan.1) }
    }

    /// - Throws: ENODATA in the first boot, ENOENT when the FLB was not handed over, ENODATA when it is finished,
    ///   EDEADLK.
    private func incoming(_ flb: any FileLifecycleBound, _ boot: Boot) throws(LiveUpdateError) -> LiveFLB {
        let (number, known) = boot.read { ($0.updateNumber, $0.incomingFLB(flb.compatible)) }
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
        // The callbacks of the registered FLB are used; if none is registered, those of the first caller's.
        if state.definition == nil { state.definition = boot.registry.flb(flb.compatible) ?? flb }
        return state
    }

    /// Waits until the callback of another thread has returned. Inside the FLB's own callback this is an error.
    private func waitUntilIdle(_ flb: LiveFLB) throws(LiveUpdateError) {
        guard !(flb.isBusy && monitor.isNested) else {
            throw LiveUpdateError(
                .deadlock, "FLB \"\(flb.compatible)\" is asked for inside its own callback",
                remedy: "use what the callback was given")
        }
        monitor.wait { !flb.isBusy }
    }

    private func borrow(_ flb: LiveFLB, _ boot: Boot) throws(LiveUpdateError) -> any Sendable {
        // The boot may have published while this thread waited.
        try boot.checkOpen()
        let before = flb.retrieved
        do throws(LiveUpdateError) {
            if flb.object == nil {
                if before == .notTried { try boot.ensureRoom() }
                try makeObject(flb, boot)
            }
        } catch {
            if flb.retrieved != before { try boot.commit([.flbRetrieved(flb.id, flb.retrieved)]) }
            throw error
        }
        if flb.retrieved != before { try boot.commit([.flbRetrieved(flb.id, flb.retrieved)]) }
        guard let object = flb.object else {
            throw LiveUpdateError(
                .operationNotSupportedByDevice, "FLB \"\(flb.compatible)\" has no live object",
                remedy: "register it before it is asked for")
        }
        flb.loans += 1
        return object
    }

    private func lend<Value>(
        _ flb: LiveFLB, _ boot: Boot, _ body: () throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        defer { monitor.enter { flb.loans -= 1 } }
        return try boot.requestLock.lending(body)
    }

    func withOutgoing<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ boot: Boot, _ body: (FLB.Object?) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try boot.ensureOpen()
        try boot.checkOpen()
        let loan = try monitor.enter { () throws(LiveUpdateError) -> (LiveFLB, FLB.Object)? in
            guard let busy = outgoing(flb) else { return nil }
            try waitUntilIdle(busy)
            guard let state = outgoing(flb) else { return nil }
            return (state, try flb.typed(try borrow(state, boot)))
        }
        guard let loan else {
            return try boot.requestLock.lending { () throws(LiveUpdateError) in try body(nil) }
        }
        return try lend(loan.0, boot) { () throws(LiveUpdateError) in try body(loan.1) }
    }

    // MARK: An update

    /// The data of the outgoing FLBs for the next boot. Each FLB derives it now from the files that travel.
    ///
    /// - Throws: the error of a serialize.
    func serialize(
        isReserved: Bool, _ boot: Boot
    ) throws(LiveUpdateError) -> [FLBID: (data: UInt64, ranges: [StoredRange])] {
        try monitor.enter { () throws(LiveUpdateError) in
            let state = boot.read { $0 }
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
                    serialized[known.id] = try serialize(flb, users: users[known.id] ?? [], isReserved, boot)
                }
            } catch {
                boot.arena.free(serialized.values.flatMap(\.ranges).map(\.range))
                throw error
            }
            return serialized
        }
    }

    private func serialize(
        _ flb: LiveFLB, users: [FLBUser], _ isReserved: Bool, _ boot: Boot
    ) throws(LiveUpdateError) -> (data: UInt64, ranges: [StoredRange]) {
        try resumeIfNeeded(flb, boot)
        guard let definition = flb.definition, let object = flb.object else { return (flb.data, []) }
        let storage = Storage(boot.arena, isReserved: isReserved)
        do throws(LiveUpdateError) {
            let data = try callback(flb) { () throws(LiveUpdateError) in
                try definition.serializeErased(object, context(flb, boot, storage, users: users))
            }
            return (data, storage.sealed())
        } catch {
            storage.discard()
            throw error
        }
    }

    /// Finishes an FLB that came with sessions which the previous boot discarded.
    func finishDiscarded(_ flb: FLBState, _ boot: Boot) {
        monitor.enter {
            finish(LiveFLB(flb, definition: boot.registry.flb(flb.compatible), object: nil), boot)
        }
    }
}
