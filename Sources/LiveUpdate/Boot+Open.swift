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
    func ensureOpen(answering answer: Answer? = nil) throws(LiveUpdateError) {
        if case .unopened = stage {
            try gate.enter(.exclusive) { () throws(LiveUpdateError) in try openOnce(answer) }
        }
    }

    private func openOnce(_ answer: Answer?) throws(LiveUpdateError) {
        guard case .unopened = stage else { return }
        do throws(LiveUpdateError) {
            try readArena(answer)
        } catch {
            setStage(.failed(error))
            throw error
        }
    }

    private func readArena(_ answer: Answer?) throws(LiveUpdateError) {
        // Prepared on what was there then: the old boot has gone on.
        if opening == .onTrial { try untouched { () throws(ArenaError) in try arena.reload() } }
        if opening != .sameBoot, let range = arena.outgoingTree {
            let wasPrepared = try plan.takePrepared()?.takeOver(range, and: answered(answer), self) ?? false
            if !wasPrepared { try takeOver(range, answer) }
        } else if arena.journal == nil {
            try untouched { () throws(ArenaError) in
                try begin([.boot(updateNumber: 0, nextID: 1), .phase(.running)], inUse: [], journalIn: nil)
            }
        } else {
            try goOn()
        }
    }

    /// Says of what failed that nothing was changed.
    func untouched<Value>(_ body: () throws(ArenaError) -> Value) throws(LiveUpdateError) -> Value {
        do throws(ArenaError) {
            return try body()
        } catch {
            if error.gate == .space { throw LiveUpdateError(error) }
            throw LiveUpdateError(
                .ioError, "the arena cannot be read: \(error)",
                remedy: "it was left untouched: start the image that wrote it, or one that knows its formats")
        }
    }

    private func begin(_ events: [Event], inUse: [Extent], journalIn room: Extent?) throws(ArenaError) {
        let state = try BootState(events)
        try check(state)
        // These events are what ``BootState/snapshot`` would make of the state again.
        try arena.takeOver(events.map(\.record), inUse: inUse, journalIn: room)
        adopt(state)
    }

    func check(_ state: BootState) throws(ArenaError) {
        try state.checkNumbers()
        try checkHandlers(state)
    }

    private func takeOver(_ range: Extent, _ answer: Answer?) throws(LiveUpdateError) {
        let tree = try untouched { () throws(ArenaError) in try LuoTreeReader(arena: arena, range: range).read() }
        var events = try withoutLost(tree).events
        if opening == .onTrial { events += [.phase(.booting)] + answered(answer) }
        try untouched { () throws(ArenaError) in
            try begin(events, inUse: tree.rangesInUse, journalIn: tree.journalRoom)
        }
        setFreeze(tree.freeze)
    }

    /// The tree without the descriptors that are not what they were: a number that was reused is not to be closed.
    func withoutLost(_ tree: LuoTree) throws(LiveUpdateError) -> LuoTree {
        var tree = tree
        let registry = registry
        for session in tree.sessions.indices {
            for (file, known) in tree.sessions[session].files.enumerated() {
                let handler = registry.entry(known.record.compatible)?.handler
                if try !isKept(known.identity, in: known.slot, handler) {
                    tree.sessions[session].files[file].slot = .lost
                }
            }
        }
        return tree
    }

    /// - Throws: what asking for a descriptor's file answers, except EBADF: a file is not given up for that.
    private func isKept(
        _ identity: FileIdentity, in slot: DescriptorSlot, _ handler: (any FileHandler)?
    ) throws(LiveUpdateError) -> Bool {
        guard let kept = descriptors.descriptor(in: slot) else { return false }
        if let known = handler?.recognizes(kept, as: identity) { return known }
        do throws(LiveUpdateError) {
            return try descriptors.identify(kept) == identity
        } catch {
            if error.errno == .badFileDescriptor { return false }
            throw error
        }
    }

    private func lostFiles(of state: BootState) throws(LiveUpdateError) -> [FileState] {
        var lost: [FileState] = []
        for session in state.sessions.values.sorted(by: { $0.id < $1.id }) {
            for file in state.files(of: session) where try !isKept(file.identity, in: file.slot, handler(of: file)) {
                lost.append(file)
            }
        }
        return lost
    }

    /// Opens lost files again where that is possible, in a boot that goes on after its processes died. An incoming file
    /// that had been retrieved and stays lost must be retrieved again, and that retrieve tells the error. An outgoing
    /// file that stays lost is looked for again when a client gets it, or when it is frozen.
    private func find(_ lost: [FileState], _ state: BootState) {
        for var file in lost {
            guard let session = state.sessions[file.session] else { continue }
            file.slot = .lost
            note(.fileRetrieved(file.id, file.retrieved == .done ? .notTried : file.retrieved, .lost))
            if file.retrieved == .done || session.direction == .outgoing { _ = try? refound(file, session) }
        }
    }

    private func goOn() throws(LiveUpdateError) {
        let state = try untouched { () throws(ArenaError) in try journalState() }
        let lost = try lostFiles(of: state)
        try untouched { () throws(ArenaError) in try arena.claim(inUse: state.rangesInUse) }
        arena.withdraw()
        adopt(state)
        find(lost, state)
        switch state.phase {
        case .running: break
        case .freezing: Freeze(self).unfreezeEverything(but: Unfrozen())
        case .booting: try confirm()
        }
        dropIncomingTreeIfDone()
    }

    func confirm() throws(LiveUpdateError) { try commit([.phase(.running)]) }

    /// Finishes the FLBs of sessions that the previous boot discarded.
    func finishDiscarded() throws(LiveUpdateError) {
        try request(.exclusive) { () throws(LiveUpdateError) in
            for flb in read({ $0.flbs(.discarded) }) {
                try ensureRoom()
                flbs.finishDiscarded(flb, self)
                try commit([.flbRemoved(flb.id)])
                arena.free(flb.ranges.map(\.range))
            }
        }
    }

    private func journalState() throws(ArenaError) -> BootState {
        var state = BootState()
        for record in try arena.journalRecords() { try state.apply(Event(record)) }
        try check(state)
        return state
    }

    private func checkHandlers(_ state: BootState) throws(ArenaError) {
        let registry = registry
        for file in state.files.values where registry.entry(file.compatible) == nil {
            throw ArenaError(.record, "no handler knows \"\(file.compatible)\"")
        }
        for flb in state.flbs(.outgoing) where registry.flb(flb.compatible) == nil {
            throw ArenaError(.record, "no FLB \"\(flb.compatible)\" is registered")
        }
    }

    func dropIncomingTreeIfDone() {
        let state = read { $0 }
        guard arena.incomingTree != nil,
            state.sessions.values.allSatisfy({ $0.direction == .outgoing || $0.progress == .finished })
        else {
            return
        }
        arena.dropIncoming()
    }
}
