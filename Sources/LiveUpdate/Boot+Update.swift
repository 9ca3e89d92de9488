import DeviceTree
import Handover
import Platform
import SystemPackage

/// The end of a boot.
///
/// 1. Freeze: sessions in creation order, files in preservation order. The journal says so before the first one.
/// 2. FLBs say what travels, and the tree is written into free space.
/// 3. Publish: one store makes the tree true. From here on this boot answers ENODEV.
///
/// Unhappy: whatever fails before 3 unfreezes what was frozen, and everything is as before; after 3, until the next boot
/// has begun, ``thaw()`` takes it back.
extension Boot {
    /// - Returns: where the descriptors are that travel.
    func publish(discardingUnfinished discard: Bool) throws(LiveUpdateError) -> [DescriptorSlot] {
        try request(.exclusive) { () throws(LiveUpdateError) in
            let start = monotonicNanoseconds()
            if !discard { try checkUnfinished() }
            try ensureRoom()
            try commit([.phase(.freezing)])
            try freezeAll()
            do throws(LiveUpdateError) {
                try writeTree(FreezeTime(start: start, end: monotonicNanoseconds()))
            } catch {
                unfreezeEverything()
                throw error
            }
            return end()
        }
    }

    /// From now on this boot writes nothing. Getters do not pass the gate, so those that are in a callback are waited for.
    private func end() -> [DescriptorSlot] {
        flbMonitor.enter {
            flbMonitor.wait { unsafe live.values.allSatisfy { !$0.isBusy } }
            return shared.with { shared in
                shared.status = .published
                return shared.state.outgoingSlots
            }
        }
    }

    private func checkUnfinished() throws(LiveUpdateError) {
        let names = shared.with { $0.state.sessions(.incoming).filter { $0.progress != .finished }.map(\.name) }
        guard names.isEmpty else {
            let list = names.map { "\"\($0)\"" }.joined(separator: ", ")
            throw LiveUpdateError(
                .resourceBusy, "the update would lose the unfinished sessions \(list)",
                remedy: "finish them, or say that they are to be discarded")
        }
    }

    // MARK: Freezing

    private func freezeAll() throws(LiveUpdateError) {
        let sessions = shared.with { $0.state.sessions(.outgoing) }
        var frozen: [(session: SessionState, files: [FileState])] = []
        for session in sessions {
            frozen.append((session, []))
            for file in shared.with({ $0.state.files(of: session) }) {
                do throws(LiveUpdateError) {
                    try freeze(file, session)
                } catch {
                    unfreeze(frozen)
                    throw error
                }
                frozen[frozen.count - 1].files.append(file)
            }
        }
    }

    private func freeze(_ known: FileState, _ session: SessionState) throws(LiveUpdateError) {
        let file = try refound(known, session)
        let storage = Storage(arena, owned: file.ranges, isReserved: true)
        do throws(LiveUpdateError) {
            let data = try handler(of: file).freeze(context(file, session: session.name, storage: storage))
            let ranges = storage.sealed()
            if data == file.data && ranges == file.ranges { return }
            do throws(LiveUpdateError) {
                try commit([.fileStored(file.id, data: data, ranges: ranges)])
            } catch {
                handler(of: file).unfreeze(context(file, session: session.name))
                throw error
            }
            arena.free(storage.droppedRanges.map(\.range))
        } catch {
            storage.discard()
            throw error
        }
    }

    /// Newest session first, but inside each first to last.
    private func unfreeze(_ frozen: [(session: SessionState, files: [FileState])]) {
        for (session, files) in frozen.reversed() {
            for file in files {
                let now = shared.with { $0.state.files[file.id] } ?? file
                handler(of: now).unfreeze(context(now, session: session.name))
            }
        }
        commitRunning()
    }

    func unfreezeEverything() {
        let state = shared.with { $0.state }
        unfreeze(state.sessions(.outgoing).map { ($0, state.files(of: $0)) })
    }

    /// A journal without room for this leaves the phase as it is, and who opens it unfreezes once more: no harm done.
    private func commitRunning() {
        try? commit([.phase(.running)])
    }

    // MARK: Publishing

    private func writeTree(_ freeze: FreezeTime) throws(LiveUpdateError) {
        let serialized = try serializeFLBs()
        var temporary = serialized.values.flatMap(\.ranges).map(\.range)
        do throws(LiveUpdateError) {
            var tree = shared.with { LuoTree($0.state, serialized, freeze) }
            tree.journalRoom = try allocate(tree.journalLength)
            temporary.append(tree.journalRoom)
            try publish(LuoTreeWriter(tree: tree, inUse: tree.rangesInUse + [tree.journalRoom]))
        } catch {
            arena.free(temporary)
            throw error
        }
        shared.with { $0.temporaryRanges = temporary }
    }

    private func allocate(_ length: UInt64) throws(LiveUpdateError) -> Extent {
        do {
            return try arena.allocateReserved(length)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    private func publish(_ writer: LuoTreeWriter) throws(LiveUpdateError) {
        let range = try allocate(writer.length)
        do throws(DeviceTreeError) {
            var bytes = try writer.bytes(at: range.offset)
            bytes += repeatElement(0, count: Int(range.length) - bytes.count)
            arena.write(bytes, at: range.offset)
            arena.publish(range)
        } catch {
            arena.free([range])
            throw LiveUpdateError(.ioError, "\(error)")
        }
    }

    /// Takes a published tree back: the next boot could not be started.
    ///
    /// - Throws: EINVAL when nothing was published.
    func thaw() throws(LiveUpdateError) {
        try gate.enter(.exclusive) { () throws(LiveUpdateError) in
            guard case .published = shared.with({ $0.status }) else {
                throw LiveUpdateError(
                    .invalidArgument, "nothing was published, so there is nothing to take back",
                    remedy: "thaw after publish, and once")
            }
            arena.withdraw()
            shared.with { shared in
                arena.free(shared.temporaryRanges)
                shared.temporaryRanges = []
                shared.status = .open
            }
            unfreezeEverything()
        }
    }
}

extension LuoTree {
    /// Room for the next boot's journal, and for it to grow: what it holds at first follows from the records.
    fileprivate var journalLength: UInt64 {
        let files = sessions.flatMap(\.files)
        let ranges = rangesInUse.count
        let links = files.reduce(0) { $0 + $1.links.count }
        let records =
            160 * files.count + 128 * (sessions.count + flbs.count + discarded.count) + 20 * ranges + 8 * links
        return UInt64(2 * records + 16384)
    }

    /// What travels of a boot.
    fileprivate init(
        _ state: BootState, _ serialized: [FLBID: (data: UInt64, ranges: [StoredRange])], _ freeze: FreezeTime
    ) {
        let flbs = state.flbs(.outgoing)
        var index: [FLBID: UInt8] = [:]
        for (position, flb) in flbs.enumerated() { index[flb.id] = UInt8(position) }
        let sessions = state.sessions(.outgoing).map { session in
            Session(
                name: session.name, owner: session.holder.owner, isDetached: session.holder.isDetached,
                files: state.files(of: session).map { file in
                    File(
                        record: FileRecord(compatible: file.compatible, data: file.data, token: file.token),
                        slot: file.slot, identity: file.identity, ranges: file.ranges,
                        links: file.flbs.compactMap { index[$0] })
                })
        }
        let unfinished = state.flbs(.incoming).filter { $0.count > 0 } + state.flbs(.discarded)
        self.init(
            updateNumber: state.updateNumber + 1, freeze: freeze,
            journalRoom: Extent(offset: 0, length: 0), sessions: sessions,
            flbs: flbs.map { flb in
                let travels = serialized[flb.id] ?? (flb.data, [])
                return FLB(
                    record: FLBRecord(name: flb.compatible, data: travels.data, count: flb.count),
                    ranges: flb.ranges + travels.ranges)
            },
            discarded: unfinished.map { flb in
                FLB(record: FLBRecord(name: flb.compatible, data: flb.data, count: flb.count), ranges: flb.ranges)
            })
    }
}
