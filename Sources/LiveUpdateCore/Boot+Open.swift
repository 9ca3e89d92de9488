// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The opening of a boot. The contents of the arena decide how the boot begins.
///
/// 1. The arena is empty: this is the first boot.
/// 2. The arena has a tree for the next boot, and this is the next boot: one store makes that tree the incoming tree.
/// 3. The arena has a journal: this boot goes on, after a crash or because the next boot could not start. It withdraws
///    a published tree, and unfreezes frozen files.
///
/// Unhappy: an arena that cannot be read is left untouched for the image that wrote it, and every open fails with the
/// reason (EIO).
extension Boot {
    /// Opens the boot at the first request. A boot on trial is not opened by a request, but by
    /// ``Orchestrator/open(answering:)``.
    ///
    /// - Throws: EAGAIN for a boot on trial that is not open; the errors of ``Orchestrator/open()``.
    func ensureOpen() throws(LiveUpdateError) {
        guard case .unopened = stage else { return }
        if opening == .onTrial { throw Self.waiting }
        try open(answering: nil)
    }

    func open(answering answer: Answer?) throws(LiveUpdateError) {
        try requestLock.enter(.exclusive) { () throws(LiveUpdateError) in try openOnce(answer) }
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
        // A boot on trial has prepared itself on an earlier state, and the old boot has changed the arena since.
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

    /// Runs `body`. An error says that the arena was left untouched, except an error about missing space.
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
        // These events are those of the ``BootState/snapshot`` of the state.
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

    /// The tree, with this process's slots, and the slot `lost` for each descriptor that is another file now. The
    /// number of a lost descriptor may have been reused, and the descriptor with that number must not be closed.
    func withoutLost(_ tree: LuoTree) throws(LiveUpdateError) -> LuoTree {
        var tree = tree
        let registry = registry
        for session in tree.sessions.indices {
            for (file, known) in tree.sessions[session].files.enumerated() {
                let handler = registry.entry(known.record.compatible)?.handler
                let own = descriptors.ownSlot(of: known.slot)
                if let identity = descriptors.newIdentity(of: own) {
                    tree.sessions[session].files[file].identity = identity
                    tree.sessions[session].files[file].slot = own
                    continue
                }
                let isHeld = try isKept(known.identity, in: own, handler)
                tree.sessions[session].files[file].slot = isHeld ? own : .lost
            }
        }
        return tree
    }

    /// - Throws: the errors of ``DescriptorStore/identify(_:)``, except EBADF. Other errors do not show that a file is
    ///   lost.
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
            for file in state.files(of: session) {
                let own = descriptors.ownSlot(of: file.slot)
                if try !isKept(file.identity, in: own, handler(of: file)) { lost.append(file) }
            }
        }
        return lost
    }

    /// Opens lost files again where possible, in a boot that goes on after its processes died. If a retrieved incoming
    /// file stays lost, it must be retrieved again, and that retrieve fails with the error. If an outgoing file stays
    /// lost, a client that gets the file and a freeze look for it again.
    private func find(_ lost: [FileState], _ state: BootState) {
        for var file in lost {
            guard let session = state.sessions[file.session] else { continue }
            file.slot = .lost
            note(.fileRetrieved(file.id, file.retrieved == .done ? .notTried : file.retrieved, .lost))
            if file.retrieved == .done || session.direction == .outgoing { _ = try? refound(file, session) }
        }
    }

    /// Opens lost files of both directions again, if they survive the kernel by themselves.
    ///
    /// - Throws: as ``Orchestrator/open()``; ENODEV when the boot has ended.
    func findLostFiles() throws(LiveUpdateError) -> FoundFiles {
        try request(.exclusive) { () throws(LiveUpdateError) in
            let state = read { $0 }
            var found = FoundFiles()
            for session in state.sessions.values.sorted(by: { $0.id < $1.id }) where session.progress != .finished {
                for file in state.files(of: session) { found.add(find(file, session)) }
            }
            return found
        }
    }

    /// Opens a file again, if it is lost and survives the kernel by itself.
    private func find(_ known: FileState, _ session: SessionState) -> FoundFiles.Outcome {
        guard isLost(known) else { return .held }
        guard handler(of: known).kernelFate == .stays else { return .lost }
        do throws(LiveUpdateError) {
            return isLost(try refound(known, session)) ? .lost : .held
        } catch {
            let remedy = error.remedy.map { "; \($0)" } ?? ""
            return .notFound(
                "user \(session.holder.user), session \"\(session.name)\", token \(known.token): "
                    + "\(error.reason(ofToken: known.token))\(remedy)")
        }
    }

    /// Notes this process's slots of files that another process held in other slots. The event *file retrieved* changes
    /// a slot without changing the retrieve status.
    private func takeSlots(_ state: BootState, but lost: [FileState]) {
        let lost = Set(lost.map(\.id))
        for file in state.files.values where !lost.contains(file.id) {
            let own = descriptors.ownSlot(of: file.slot)
            if own != file.slot { note(.fileRetrieved(file.id, file.retrieved, own)) }
        }
    }

    private func goOn() throws(LiveUpdateError) {
        let state = try untouched { () throws(ArenaError) in try journalState() }
        let lost = try lostFiles(of: state)
        try untouched { () throws(ArenaError) in try arena.claim(inUse: state.rangesInUse) }
        arena.withdraw()
        adopt(state)
        takeSlots(state, but: lost)
        find(lost, state)
        switch state.phase {
        case .running: break
        case .freezing: Freeze(self).unfreezeEverything(but: Unfrozen())
        case .booting: try confirm()
        }
        dropIncomingTreeIfDone()
    }

    func confirm() throws(LiveUpdateError) {
        try commit([.phase(.running)])
        setStage(.open)
    }

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

/// The files of a boot after a look for those that are lost.
package struct FoundFiles: Equatable, Sendable {
    /// The outcome of the look for one file.
    enum Outcome {
        case held
        case lost
        /// The file survives the kernel, but was not found. The reason names user, session and token.
        case notFound(String)
    }

    /// The number of files that are held.
    package private(set) var held = 0
    /// The number of files that are lost.
    package private(set) var lost = 0
    /// The reasons why files that survive the kernel were not found, each with user, session and token.
    package private(set) var reasons: [String] = []

    fileprivate mutating func add(_ outcome: Outcome) {
        switch outcome {
        case .held: held += 1
        case .lost: lost += 1
        case .notFound(let reason):
            lost += 1
            reasons.append(reason)
        }
    }
}
