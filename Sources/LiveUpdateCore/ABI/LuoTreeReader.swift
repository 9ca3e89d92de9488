// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform

/// The reader of a tree that may be damaged. It checks every offset, count, string and length before use.
struct LuoTreeReader {
    private let arena: any ArenaReading
    /// The range of the whole tree, as its slot names it.
    let range: Extent
    /// The bytes of the tree, as far as the arena has them. They are copied once, and not record by record.
    let image: [UInt8]

    init(arena: any ArenaReading, range: Extent) {
        self.arena = arena
        self.range = range
        let there = min(range.length, arena.size - min(range.offset, arena.size))
        image = (try? arena.read(at: range.offset, count: there)) ?? []
    }

    /// The length of the longest flattened tree. It limits the time that libfdt takes.
    private static let longestTree = 64 << 10

    /// - Throws: `tree` or `record`, with the reason.
    func read() throws(ArenaError) -> LuoTree {
        let (tree, map) = try contents()
        try check(tree, map: map)
        return tree
    }

    /// The contents of the tree, and the offset of the list of ranges in use. ``check(_:map:)`` compares them.
    func contents() throws(ArenaError) -> (tree: LuoTree, map: UInt64) {
        let root = try tree(at: range.offset, LuoNames.handover)
        guard let map = root.u64(LuoNames.memoryMap) else { throw missing(LuoNames.memoryMap) }
        let number = try property(LuoNames.luo, in: root)
        let flbs = try readFLBs(at: property(LuoNames.flbs, in: root))
        var sessions = try readSessions(at: property(LuoNames.sessions, in: root))
        let (place, hasMarks) = try slotsPlace(in: root)
        let slots = try readSlots(at: place, sessions: &sessions, flbs: flbs, hasMarks: hasMarks)
        if root.child(LuoNames.holders.node) != nil {
            try readHolders(at: property(LuoNames.holders, in: root), sessions: &sessions)
        }
        if root.child(LuoNames.makers.node) != nil {
            try readMakers(at: property(LuoNames.makers, in: root), sessions: &sessions)
        }
        if root.child(LuoNames.attestations.node) != nil {
            try readAttestations(at: property(LuoNames.attestations, in: root), sessions: &sessions)
        }
        return (
            LuoTree(
                updateNumber: number,
                freeze: FreezeTime(start: slots.header.freezeStart, end: slots.header.freezeEnd),
                journalRoom: slots.header.journalRoom, sessions: sessions, flbs: slots.flbs, discarded: slots.discarded),
            map
        )
    }

    /// The offset in the image of the times of the freeze.
    ///
    /// - Throws: `tree`.
    func freezeOffset() throws(ArenaError) -> Int {
        let slots = try slotsPlace(in: tree(at: range.offset, LuoNames.handover)).offset
        return Int(slots - range.offset) + SlotHeader.freezeOffset
    }

    /// Checks that the parts of the tree agree.
    func check(_ tree: LuoTree, map: UInt64) throws(ArenaError) {
        try checkCounts(tree)
        try checkMap(at: map, tree)
    }

    /// The error of the list of ranges in use; nil if the list names exactly what the tree reaches.
    func mapFailure(_ tree: LuoTree, map: UInt64) -> ArenaError? {
        do throws(ArenaError) {
            try checkMap(at: map, tree)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Trees

    private func tree(at offset: UInt64, _ compatible: String) throws(ArenaError) -> DeviceTreeReader {
        let reader = try flattenedTree(at: offset)
        guard reader.string("compatible") == compatible else {
            let found = reader.string("compatible") ?? "nothing"
            let error = DeviceTreeError(reading: "the tree is \"\(found)\", where only \"\(compatible)\" is known")
            throw ArenaError(.tree, "\(error)")
        }
        return reader
    }

    /// - Throws: `tree`.
    func flattenedTree(at offset: UInt64) throws(ArenaError) -> DeviceTreeReader {
        do throws(DeviceTreeError) {
            return try DeviceTreeReader(bytesOfTree(at: offset))
        } catch {
            throw ArenaError(.tree, "\(error)")
        }
    }

    private func bytesOfTree(at offset: UInt64) throws(DeviceTreeError) -> [UInt8] {
        guard let header = try? bytes(at: offset, count: 40) else {
            throw DeviceTreeError(reading: "a tree at offset \(offset)")
        }
        let length = try DeviceTreeReader.totalSize(ofHeader: [UInt8](header))
        guard length <= Self.longestTree, let tree = try? bytes(at: offset, count: UInt64(length)) else {
            throw DeviceTreeError(reading: "a tree of \(length) bytes at offset \(offset)")
        }
        return [UInt8](tree)
    }

    private func property(
        _ names: (node: String, compatible: String, property: String), in root: DeviceTreeReader
    ) throws(ArenaError) -> UInt64 {
        guard let node = root.child(names.node), let offset = root.u64(LuoNames.subtree, of: node) else {
            throw missing(names.node)
        }
        guard let value = try tree(at: offset, names.compatible).u64(names.property) else {
            throw missing(names.property)
        }
        return value
    }

    /// The offset of the slots, and whether files can have marks there.
    private func slotsPlace(in root: DeviceTreeReader) throws(ArenaError) -> (offset: UInt64, hasMarks: Bool) {
        if let node = root.child(LuoNames.slots.node), let offset = root.u64(LuoNames.subtree, of: node),
            try flattenedTree(at: offset).string("compatible") == LuoNames.markedSlots.compatible
        {
            return (try property(LuoNames.markedSlots, in: root), true)
        }
        return (try property(LuoNames.slots, in: root), false)
    }

    private func missing(_ name: String) -> ArenaError { ArenaError(.tree, "no \(name)") }

    // MARK: Records

    private func bytes(at offset: UInt64, count: UInt64) throws(ArenaError) -> ArraySlice<UInt8> {
        guard offset >= range.offset, offset <= range.end, count <= range.end - offset else {
            throw ArenaError(.record, "\(count) bytes at offset \(offset) are outside of the tree")
        }
        let start = Int(offset - range.offset)
        // The arena throws the error for bytes that it does not have.
        guard start + Int(count) <= image.count else { return try arena.read(at: offset, count: count)[...] }
        return image[start..<start + Int(count)]
    }

    private func records<Record: PackedRecord>(
        _: Record.Type, at offset: UInt64, count: UInt64, _ what: String
    ) throws(ArenaError) -> [Record] {
        guard count <= range.length / UInt64(Record.length) else {
            throw ArenaError(.record, "\(count) \(what) do not fit into the tree")
        }
        if count == 0 { return [] }
        var reader = ByteReader(try bytes(at: offset, count: count * UInt64(Record.length)), what)
        var records: [Record] = []
        records.reserveCapacity(Int(count))
        for _ in 0..<count { records.append(try Record(&reader)) }
        return records
    }

    private func number(at offset: UInt64) throws(ArenaError) -> UInt64 {
        var reader = ByteReader(try bytes(at: offset, count: 8), "header")
        return try reader.take()
    }

    private func readFLBs(at offset: UInt64) throws(ArenaError) -> [FLBRecord] {
        _ = try bytes(at: offset, count: 16)
        let count = try number(at: offset + 8)
        let flbs = try records(FLBRecord.self, at: offset + 16, count: count, "FLBs")
        guard flbs.count <= 63 else { throw ArenaError(.record, "\(flbs.count) FLBs") }
        return flbs
    }

    private func readSessions(at offset: UInt64) throws(ArenaError) -> [LuoTree.Session] {
        let count = try number(at: offset)
        var sessions: [LuoTree.Session] = []
        var total: UInt64 = 0
        for record in try records(SessionRecord.self, at: offset + 8, count: count, "sessions") {
            guard record.name.isValid else { throw ArenaError(.record, "a session without a name") }
            // Without this check, many sessions could count the same records.
            (total, _) = total.addingReportingOverflow(record.count)
            guard total <= range.length / UInt64(FileRecord.length) else {
                throw ArenaError(.record, "more files than the tree has room for")
            }
            let files = try records(
                FileRecord.self, at: record.files, count: record.count, "files of \"\(record.name)\"")
            sessions.append(
                LuoTree.Session(
                    name: record.name,
                    files: files.map { file in
                        LuoTree.File(
                            record: file, slot: DescriptorSlot(-1), identity: FileIdentity(device: 0, inode: 0),
                            ranges: [], links: [])
                    }))
        }
        return sessions
    }

    private func readHolders(at offset: UInt64, sessions: inout [LuoTree.Session]) throws(ArenaError) {
        let holders = try records(HolderRecord.self, at: offset, count: UInt64(sessions.count), "holders")
        for (index, holder) in holders.enumerated() {
            sessions[index].user = holder.user
            sessions[index].isDetached = holder.isDetached
        }
    }

    private func readMakers(at offset: UInt64, sessions: inout [LuoTree.Session]) throws(ArenaError) {
        let makers = try records(MakerRecord.self, at: offset, count: UInt64(sessions.count), "makers")
        for (index, record) in makers.enumerated() { sessions[index].maker = record.maker }
    }

    private func readAttestations(at offset: UInt64, sessions: inout [LuoTree.Session]) throws(ArenaError) {
        let files = sessions.reduce(0) { $0 + $1.files.count }
        var records = try records(AttestationRecord.self, at: offset, count: UInt64(files), "attestations")[...]
        for session in sessions.indices {
            for file in sessions[session].files.indices {
                sessions[session].files[file].attestation = records.popFirst()?.offset ?? 0
            }
        }
    }

    private struct Slots {
        var header: SlotHeader
        var flbs: [LuoTree.FLB]
        var discarded: [LuoTree.FLB]
    }

    private func readSlots(
        at offset: UInt64, sessions: inout [LuoTree.Session], flbs: [FLBRecord], hasMarks: Bool
    ) throws(ArenaError) -> Slots {
        let header = try records(SlotHeader.self, at: offset, count: 1, "header of slots")[0]
        let fileCount = sessions.reduce(0) { $0 + $1.files.count }
        guard header.files == UInt64(fileCount), header.flbs == UInt64(flbs.count),
            header.discarded <= range.length / UInt64(FLBRecord.length)
        else {
            throw ArenaError(.record, "\(header.files) slots for \(fileCount) files")
        }
        var at = offset + UInt64(SlotHeader.length)
        var files = try records(FileSlotRecord.self, at: at, count: header.files, "slots")
        if !hasMarks { for index in files.indices { files[index].marks = [] } }
        at += header.files * UInt64(FileSlotRecord.length)
        let places = try records(FLBSlotRecord.self, at: at, count: header.flbs + header.discarded, "slots of FLBs")
        at += UInt64(places.count * FLBSlotRecord.length)
        let discarded = try records(FLBRecord.self, at: at, count: header.discarded, "discarded FLBs")
        at += header.discarded * UInt64(FLBRecord.length)
        let leftOut = UInt64(files.count { $0.marks.contains(.leftOut) })
        let reasons = try records(ReasonRecord.self, at: at, count: leftOut, "reasons")

        try checkRoom(files.map(\.rangeCount) + places.map(\.rangeCount))
        try fill(&sessions, from: files, reasons, flbs: flbs.count)
        var all: [LuoTree.FLB] = []
        for (record, place) in zip(flbs + discarded, places) {
            all.append(LuoTree.FLB(record: record, ranges: try ranges(at: place.ranges, count: place.rangeCount)))
        }
        return Slots(
            header: header, flbs: [LuoTree.FLB](all.prefix(flbs.count)),
            discarded: [LuoTree.FLB](all.dropFirst(flbs.count)))
    }

    /// Checks that all ranges fit into the tree. Without this check, many files could count the same ranges.
    private func checkRoom(_ counts: [UInt64]) throws(ArenaError) {
        var room = range.length / UInt64(RangeRecord.length)
        for count in counts {
            guard count <= room else { throw ArenaError(.record, "\(count) more ranges do not fit into the tree") }
            room -= count
        }
    }

    private func fill(
        _ sessions: inout [LuoTree.Session], from slots: [FileSlotRecord], _ reasons: [ReasonRecord], flbs: Int
    ) throws(ArenaError) {
        var next = slots.startIndex
        var reasons = reasons[...]
        for session in sessions.indices {
            for file in sessions[session].files.indices {
                let slot = slots[next]
                next += 1
                guard slot.links.allSatisfy({ $0 < flbs }), slot.links.isSet else {
                    throw ArenaError(.record, "a file of \"\(sessions[session].name)\" counts on an unknown FLB")
                }
                let ranges = try ranges(at: slot.ranges, count: slot.rangeCount)
                sessions[session].files[file].fill(from: slot, ranges: ranges)
                try sessions[session].files[file].mark(from: slot, &reasons)
            }
        }
    }

    private func ranges(at offset: UInt64, count: UInt64) throws(ArenaError) -> [StoredRange] {
        try records(RangeRecord.self, at: offset, count: count, "ranges").map(\.stored)
    }

    // MARK: Agreement of the parts

    private func checkCounts(_ tree: LuoTree) throws(ArenaError) {
        var counts = [UInt64](repeating: 0, count: tree.flbs.count)
        for file in tree.sessions.flatMap(\.files) { for link in file.links { counts[Int(link)] += 1 } }
        for (flb, count) in zip(tree.flbs, counts) where flb.record.count != count {
            throw ArenaError(.record, "FLB \"\(flb.record.name)\" counts \(flb.record.count) files of \(count)")
        }
    }

    /// Checks that the list of ranges in use names exactly the tree and the ranges of the records.
    private func checkMap(at offset: UInt64, _ tree: LuoTree) throws(ArenaError) {
        let count = try number(at: offset)
        guard count <= range.length / 16 else { throw ArenaError(.record, "\(count) ranges in use") }
        var reader = ByteReader(try bytes(at: offset + 8, count: count * 16), "ranges in use")
        var listed: [Extent] = []
        for _ in 0..<count { listed.append(Extent(offset: try reader.take(), length: try reader.take())) }
        let named = tree.rangesInUse + [range, tree.journalRoom]
        guard listed.map(\.offset) == named.map(\.offset).sorted() else {
            throw ArenaError(.record, "the list of ranges in use does not name what is in use")
        }
    }
}

extension LuoTree.File {
    fileprivate mutating func fill(from record: FileSlotRecord, ranges: [StoredRange]) {
        slot = DescriptorSlot(record.slot)
        identity = record.identity
        links = record.links
        self.ranges = ranges
    }
}

extension LuoTree.File {
    /// - Throws: `record` for marks that this version does not know, and for a number that is no errno.
    fileprivate mutating func mark(
        from record: FileSlotRecord, _ reasons: inout ArraySlice<ReasonRecord>
    ) throws(ArenaError) {
        if record.marks.isEmpty { return }
        let marks = try FileMarks(checking: record.marks.rawValue)
        holdsFile = !marks.contains(.holdsNothing)
        guard marks.contains(.leftOut) else { return }
        guard LeftOut.errnos.contains(CInt(record.errno)), let reason = reasons.popFirst()?.reason else {
            throw ArenaError(.record, "a file that was left out with the errno \(record.errno)")
        }
        leftOut = LeftOut(errno: CInt(record.errno), reason: reason)
    }
}

extension Collection where Element: Hashable {
    /// Whether no element occurs twice. Most lists of FLBs have at most one element, so a set is seldom built.
    var isSet: Bool { count < 2 || Set(self).count == count }
}

extension LuoTree {
    /// The ranges that the files and FLBs of the tree hold.
    var rangesInUse: [Extent] {
        let stored =
            sessions.flatMap(\.files).flatMap(\.ranges) + flbs.flatMap(\.ranges) + discarded.flatMap(\.ranges)
        return stored.map(\.range)
    }
}

extension DeviceTreeError {
    fileprivate init(reading reason: String) { self.init("read", reason: reason) }
}
