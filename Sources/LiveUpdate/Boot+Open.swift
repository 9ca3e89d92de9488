import Handover
import Platform
import SystemPackage

/// How a boot begins.
///
/// 1. Nothing in the arena: it is the first.
/// 2. A tree for the next boot, and this is it: the tree becomes the incoming one, with one store.
/// 3. A journal: this is a boot that goes on, after a crash or because the next one could not start. What was published
///    is taken back, and what was frozen is unfrozen.
///
/// Unhappy: what cannot be read is left untouched for the image that wrote it, and every open says why (EIO).
extension Boot {
    func ensureOpen() throws(LiveUpdateError) {
        if case .unopened = shared.with({ $0.status }) {
            try gate.enter(.exclusive) { () throws(LiveUpdateError) in try openOnce() }
        }
    }

    private func openOnce() throws(LiveUpdateError) {
        guard case .unopened = shared.with({ $0.status }) else { return }
        do throws(LiveUpdateError) {
            try read()
        } catch {
            shared.with { $0.status = .failed(error) }
            throw error
        }
    }

    private func read() throws(LiveUpdateError) {
        do throws(ArenaError) {
            if opening == .nextBoot, let tree = arena.outgoingTree {
                try takeOver(LuoTreeReader(arena: arena, range: tree).read())
            } else if arena.journal == nil {
                try begin([.boot(updateNumber: 0, nextID: 1)], inUse: [], journalIn: nil)
            } else {
                try goOn()
            }
        } catch {
            let reason = "what is in the arena cannot be read: \(error)"
            throw LiveUpdateError(
                error.gate == .space ? .noSpace : .ioError, reason,
                remedy: "it was left untouched: start the image that wrote it, or one that knows its formats")
        }
    }

    private func begin(_ events: [Event], inUse: [Extent], journalIn room: Extent?) throws(ArenaError) {
        var state = BootState()
        for event in events { try state.apply(event) }
        try checkNumbers(state)
        try checkHandlers(state)
        try arena.takeOver(state.snapshot.map(\.record), inUse: inUse, journalIn: room)
        adopt(state)
    }

    private func takeOver(_ tree: LuoTree) throws(ArenaError) {
        try begin(withoutLost(counting(tree)).events, inUse: tree.rangesInUse, journalIn: tree.journalRoom)
        shared.with { $0.freeze = tree.freeze }
    }

    /// The tree with each file counted on what ``Orchestrator/Counting`` says.
    private func counting(_ tree: LuoTree) -> LuoTree {
        guard counting == .asLinked else { return tree }
        var tree = tree
        let names = tree.flbs.map(\.record.name)
        let registry = shared.with { $0.registry }
        for session in tree.sessions.indices {
            for file in tree.sessions[session].files.indices {
                let linked = registry.entry(tree.sessions[session].files[file].record.compatible)?.flbs ?? []
                tree.sessions[session].files[file].links = linked.compactMap { flb in
                    names.firstIndex(of: flb.compatible).map { UInt8($0) }
                }
            }
        }
        return tree
    }

    /// The tree without the descriptors that are not what they were: a number that was reused is not to be closed.
    private func withoutLost(_ tree: LuoTree) -> LuoTree {
        var tree = tree
        let registry = shared.with { $0.registry }
        for session in tree.sessions.indices {
            for file in tree.sessions[session].files.indices {
                let known = tree.sessions[session].files[file]
                guard let kept = descriptors.descriptor(in: known.slot) else { continue }
                let own = registry.entry(known.record.compatible)?.handler.identity(of: kept)
                let found = own ?? (try? descriptors.identify(kept))
                if found != known.identity { tree.sessions[session].files[file].slot = .lost }
            }
        }
        return tree
    }

    private func goOn() throws(ArenaError) {
        var state = BootState()
        for record in try arena.journalRecords() { try state.apply(Event(record)) }
        try checkNumbers(state)
        try checkHandlers(state)
        try arena.claim(inUse: state.rangesInUse)
        arena.withdraw()
        adopt(state)
        if state.phase == .freezing { unfreezeEverything() }
        dropIncomingTreeIfDone()
    }

    /// Nobody counts that far: such a number is damage, and counting on from it would overflow.
    private func checkNumbers(_ state: BootState) throws(ArenaError) {
        guard max(state.nextID, state.updateNumber) < 1 << 63 else {
            throw ArenaError(.record, "the next number is \(state.nextID), in update \(state.updateNumber)")
        }
    }

    private func checkHandlers(_ state: BootState) throws(ArenaError) {
        let registry = shared.with { $0.registry }
        for compatible in state.handlersInUse where registry.entry(compatible) == nil {
            throw ArenaError(.record, "no handler knows \"\(compatible)\"")
        }
        for flb in state.flbs(.outgoing) where registry.flb(flb.compatible) == nil {
            throw ArenaError(.record, "no FLB \"\(flb.compatible)\" is registered")
        }
    }

    private func adopt(_ state: BootState) {
        flbMonitor.enter {
            for flb in state.flbs.values where flb.kind != .discarded {
                let definition = shared.with { $0.registry.flb(flb.compatible) }
                unsafe live[flb.id] = LiveFLB(flb, definition: definition, object: nil)
            }
        }
        shared.with { shared in
            shared.state = state
            shared.status = .open
            for session in state.sessions.values where session.progress != .waiting {
                shared.locks[session.id] = Lock()
            }
        }
    }

    func dropIncomingTreeIfDone() {
        let state = shared.with { $0.state }
        guard arena.incomingTree != nil, state.sessions(.incoming).allSatisfy({ $0.progress == .finished }) else {
            return
        }
        arena.dropIncoming()
    }
}

extension LuoTree {
    /// What the next boot begins with.
    fileprivate var events: [Event] {
        var next: UInt64 = 1
        func take() -> UInt64 {
            defer { next += 1 }
            return next
        }
        let flbIDs = flbs.map { _ in FLBID(value: take()) }
        var events: [Event] = []
        func add(_ flb: FLB, _ id: FLBID, _ kind: FLBState.Kind) {
            events.append(
                .flbAdded(
                    FLBState(
                        id: id, kind: kind, compatible: flb.record.name, data: flb.record.data, ranges: flb.ranges,
                        count: flb.record.count, retrieved: .notTried)))
        }
        for (flb, id) in zip(flbs, flbIDs) { add(flb, id, .incoming) }
        for flb in discarded { add(flb, FLBID(value: take()), .discarded) }
        for session in sessions {
            let id = SessionID(value: take())
            events.append(
                .sessionAdded(SessionState(id: id, name: session.name, direction: .incoming, progress: .waiting)))
            for file in session.files {
                events.append(
                    .fileAdded(
                        FileState(
                            id: FileID(value: take()), session: id, token: file.record.token,
                            compatible: file.record.compatible, slot: file.slot, identity: file.identity,
                            data: file.record.data, ranges: file.ranges, flbs: file.links.map { flbIDs[Int($0)] },
                            retrieved: .notTried)))
            }
        }
        return [.boot(updateNumber: updateNumber, nextID: next)] + events
    }
}
