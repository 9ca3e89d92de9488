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
/// Where a draft was made (``draft(leavingOut:)``) and nothing has changed since, 2 is done already, and 1 only looks.
///
/// A file without a descriptor is lost: it is not frozen, and travels as lost. If the update may leave files out, a
/// file that cannot be frozen is left out, and the freeze goes on with the next file. So no file is frozen twice.
///
/// Unhappy: whatever fails before 3 unfreezes what was frozen, and everything is as before; after 3, until the next boot
/// has begun, ``thaw()`` takes it back.
extension Boot {
    /// - Returns: where the descriptors are that travel.
    func publish(
        discardingUnfinished discard: Bool, leavingOut: Bool
    ) throws(LiveUpdateError) -> [DescriptorSlot] {
        try request(.exclusive) { () throws(LiveUpdateError) in
            let start = monotonicNanoseconds()
            if !discard { try checkUnfinished() }
            try ensureRoom()
            try commit([.phase(.freezing)])
            let unfrozen = try freezeAll(leavingOut: leavingOut)
            do throws(LiveUpdateError) {
                let freeze = FreezeTime(start: start, end: monotonicNanoseconds())
                return end(travelling: try publishTree(freeze, unfrozen), unfrozen)
            } catch {
                unfreezeEverything(but: unfrozen)
                throw error
            }
        }
    }

    /// From now on this boot writes nothing. Getters do not pass the gate, so those that are in a callback are waited for.
    private func end(travelling slots: [DescriptorSlot], _ unfrozen: Unfrozen) -> [DescriptorSlot] {
        flbMonitor.enter {
            flbMonitor.wait { unsafe live.values.allSatisfy { !$0.isBusy } }
            shared.with { shared in
                shared.status = .published
                shared.unfrozen = unfrozen
            }
        }
        return slots
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

    /// All files that travel, in their order.
    func filesToFreeze() -> [FileToFreeze] {
        let state = shared.with { $0.state }
        return state.sessions(.outgoing).flatMap { session in
            state.files(of: session).map { FileToFreeze(file: $0, session: session) }
        }
    }

    private func freezeAll(leavingOut: Bool) throws(LiveUpdateError) -> Unfrozen {
        let draft = currentDraft(leavingOut: leavingOut)
        let files = draft?.files ?? filesToFreeze()
        var unfrozen = draft?.unfrozen ?? Unfrozen()
        for (index, one) in files.enumerated() where one.isUnchanged?() != true && !unfrozen.contains(one.file.id) {
            do throws(LiveUpdateError) {
                if try !freeze(one.file, one.session) { unfrozen.lose(one.file.id) }
            } catch {
                guard leavingOut else {
                    unfreeze(files[..<index], but: unfrozen)
                    throw error
                }
                unfrozen.leaveOut(one.file.id, because: LeftOut(error))
            }
        }
        return unfrozen
    }

    /// - Returns: false for a lost file, which is not frozen.
    private func freeze(_ known: FileState, _ session: SessionState) throws(LiveUpdateError) -> Bool {
        var file = known
        if isLost(known) {
            file = found(known, session)
            if isLost(file) { return false }
        }
        let storage = Storage(arena, owned: file.ranges, isReserved: true)
        do throws(LiveUpdateError) {
            let data = try handler(of: file).freeze(context(file, session: session.name, storage: storage))
            let ranges = storage.sealed()
            if data == file.data && ranges == file.ranges { return true }
            do throws(LiveUpdateError) {
                try commit([.fileStored(file.id, data: data, ranges: ranges)])
            } catch {
                handler(of: file).unfreeze(context(file, session: session.name))
                throw error
            }
            arena.free(storage.droppedRanges.map(\.range))
            return true
        } catch {
            storage.discard()
            throw error
        }
    }

    /// Newest session first, but inside each first to last.
    private func unfreeze(_ frozen: ArraySlice<FileToFreeze>, but unfrozen: Unfrozen) {
        for one in frozen.sorted(by: { $0.session.id > $1.session.id }) where !unfrozen.contains(one.file.id) {
            let now = shared.with { $0.state.files[one.file.id] } ?? one.file
            handler(of: now).unfreeze(context(now, session: one.session.name))
        }
        commitRunning()
    }

    func unfreezeEverything(but unfrozen: Unfrozen) { unfreeze(filesToFreeze()[...], but: unfrozen) }

    /// A journal without room for this leaves the phase as it is, and who opens it unfreezes once more: no harm done.
    private func commitRunning() {
        try? commit([.phase(.running)])
    }

    // MARK: Publishing

    /// A tree that is written into free space, and that nothing names yet.
    struct WrittenTree: Sendable {
        var range: Extent
        /// Where the times of the freeze are in the arena.
        var freezeOffset: UInt64
        /// What was allocated beside it.
        var temporary: [Extent]
        /// Where the descriptors are that travel.
        var slots: [DescriptorSlot]
    }

    /// - Returns: where the descriptors are that travel.
    private func publishTree(
        _ freeze: FreezeTime, _ unfrozen: Unfrozen
    ) throws(LiveUpdateError) -> [DescriptorSlot] {
        let written: WrittenTree
        // A draft that is still current lacks only the times of the freeze.
        if let draft = takeDraft(leavingOut: unfrozen.leftOut) {
            written = draft.tree
            arena.write(SlotHeader.bytes(of: freeze), at: written.freezeOffset)
        } else {
            written = try writeTree(freeze, leavingOut: unfrozen.leftOut, isReserved: true)
        }
        arena.publish(written.range)
        shared.with { $0.temporaryRanges = written.temporary }
        return written.slots
    }

    /// - Parameter isReserved: whether it may take of the room that is left for it: not what is only a draft.
    func writeTree(
        _ freeze: FreezeTime, leavingOut: [FileID: LeftOut], isReserved: Bool
    ) throws(LiveUpdateError) -> WrittenTree {
        let serialized = try serializeFLBs(isReserved: isReserved)
        var temporary = serialized.values.flatMap(\.ranges).map(\.range)
        do throws(LiveUpdateError) {
            let state = shared.with { $0.state }
            var tree = LuoTree(state, serialized, freeze, leavingOut: leavingOut)
            tree.journalRoom = try allocate(tree.journalLength, isReserved)
            temporary.append(tree.journalRoom)
            let writer = LuoTreeWriter(tree: tree, inUse: tree.rangesInUse + [tree.journalRoom])
            let range = try write(writer, isReserved)
            return WrittenTree(
                range: range, freezeOffset: range.offset + writer.freezeOffset, temporary: temporary,
                slots: state.outgoingSlots)
        } catch {
            arena.free(temporary)
            throw error
        }
    }

    private func allocate(_ length: UInt64, _ isReserved: Bool) throws(LiveUpdateError) -> Extent {
        do {
            return try isReserved ? arena.allocateReserved(length) : arena.allocate(length)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    private func write(_ writer: LuoTreeWriter, _ isReserved: Bool) throws(LiveUpdateError) -> Extent {
        let range = try allocate(writer.length, isReserved)
        do throws(DeviceTreeError) {
            var bytes = try writer.bytes(at: range.offset)
            bytes += repeatElement(0, count: Int(range.length) - bytes.count)
            arena.write(bytes, at: range.offset)
            return range
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
            let unfrozen = shared.with { shared in
                arena.free(shared.temporaryRanges)
                shared.temporaryRanges = []
                shared.status = .open
                defer { shared.unfrozen = Unfrozen() }
                return shared.unfrozen
            }
            unfreezeEverything(but: unfrozen)
        }
    }
}

extension LuoTree {
    /// Room for the next boot's journal, and for it to grow: what it holds at first follows from the records.
    fileprivate var journalLength: UInt64 {
        let files = sessions.flatMap(\.files)
        let ranges = rangesInUse.count
        let links = files.reduce(0) { $0 + $1.links.count }
        let reasons = files.reduce(0) { $0 + ($1.leftOut?.reason.utf8.count ?? 0) }
        let records =
            160 * files.count + 128 * (sessions.count + flbs.count + discarded.count) + 20 * ranges + 8 * links
            + reasons
        return UInt64(2 * records + 16384)
    }

    /// What travels of a boot.
    fileprivate init(
        _ state: BootState, _ serialized: [FLBID: (data: UInt64, ranges: [StoredRange])], _ freeze: FreezeTime,
        leavingOut: [FileID: LeftOut]
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
                        links: file.flbs.compactMap { index[$0] }, holdsFile: file.holdsFile,
                        leftOut: leavingOut[file.id])
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
