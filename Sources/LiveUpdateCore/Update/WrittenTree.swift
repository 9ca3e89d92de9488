// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform

/// A tree that was written into free space, and that is not published yet.
struct WrittenTree: Sendable {
    let range: Extent
    /// The offset of the times of the freeze in the arena.
    let freezeOffset: UInt64
    /// The ranges that were allocated beside the tree.
    let temporary: [Extent]
    /// The slots of the descriptors that travel.
    let slots: [DescriptorSlot]

    /// Asks the FLBs of a boot for their data, and writes the tree. `isReserved` says whether the tree may use the room
    /// that is reserved for publishing: a draft may not.
    ///
    /// - Throws: the errors of an FLB; ENOSPC. Nothing is left in the arena then.
    init(
        of boot: Boot, _ freeze: FreezeTime, leavingOut: [FileID: LeftOut], isReserved: Bool
    ) throws(LiveUpdateError) {
        let serialized = try boot.flbs.serialize(isReserved: isReserved, boot)
        var temporary = serialized.values.flatMap(\.ranges).map(\.range)
        do throws(LiveUpdateError) {
            let state = boot.read { $0 }
            var tree = LuoTree(state, serialized, freeze, leavingOut: leavingOut)
            tree.journalRoom = try Self.allocate(tree.journalLength, isReserved, boot.arena)
            temporary.append(tree.journalRoom)
            let writer = LuoTreeWriter(tree: tree, inUse: tree.rangesInUse + [tree.journalRoom])
            range = try Self.write(writer, isReserved, boot.arena)
            freezeOffset = range.offset + writer.freezeOffset
            self.temporary = temporary
            slots = state.outgoingSlots
        } catch {
            boot.arena.free(temporary)
            throw error
        }
    }

    private static func allocate(
        _ length: UInt64, _ isReserved: Bool, _ arena: Arena
    ) throws(LiveUpdateError) -> Extent {
        do {
            return try isReserved ? arena.allocateReserved(length) : arena.allocate(length)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    private static func write(
        _ writer: LuoTreeWriter, _ isReserved: Bool, _ arena: Arena
    ) throws(LiveUpdateError) -> Extent {
        let range = try allocate(writer.length, isReserved, arena)
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
}

/// A tree that an update can publish, written ahead of the update, so that little is left to do in the blackout.
struct Draft: Sendable {
    let tree: WrittenTree
    /// The files, in the order in which they are frozen.
    let files: [FileToFreeze]
    /// The files that the draft leaves out, and the files that were lost already.
    let unfrozen: Unfrozen
    /// The revision of the state at the time of the draft.
    let revision: UInt64
}

extension LuoTree {
    /// The length of the next boot's journal, with room to grow. Its first contents follow from the records.
    fileprivate var journalLength: UInt64 {
        let files = sessions.flatMap(\.files)
        let ranges = rangesInUse.count
        let links = files.reduce(0) { $0 + $1.links.count }
        let reasons = files.reduce(0) { $0 + ($1.leftOut?.reason.utf8.count ?? 0) }
        let attested = files.filter { $0.attestation != 0 }
        let records =
            160 * files.count + attested.reduce(0) { $0 + 64 + 20 * $1.ranges.count } + 192 * sessions.count + 128
            * (flbs.count + discarded.count) + 20 * ranges + 8 * links
            + reasons
        return UInt64(2 * records + 16384)
    }

    /// The part of a boot's state that travels.
    fileprivate init(
        _ state: BootState, _ serialized: [FLBID: (data: UInt64, ranges: [StoredRange])], _ freeze: FreezeTime,
        leavingOut: [FileID: LeftOut]
    ) {
        let flbs = state.flbs(.outgoing)
        var index: [FLBID: UInt8] = [:]
        for (position, flb) in flbs.enumerated() { index[flb.id] = UInt8(position) }
        let sessions = state.sessions(.outgoing).map { session in
            Session(
                name: session.name, user: session.holder.user, isDetached: session.holder.isDetached,
                maker: session.maker,
                files: state.files(of: session).map { file in
                    File(
                        record: FileRecord(compatible: file.compatible, data: file.data, token: file.token),
                        slot: file.slot, identity: file.identity, ranges: file.ranges,
                        links: file.flbs.compactMap { index[$0] }, holdsFile: file.holdsFile,
                        attestation: file.attestation,
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
