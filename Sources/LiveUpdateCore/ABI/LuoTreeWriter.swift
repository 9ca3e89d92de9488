// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform

/// The writer of a tree. The flattened trees come first, at places that do not depend on their contents, and the
/// records follow.
struct LuoTreeWriter {
    private let tree: LuoTree
    /// The ranges that the tree's memory map lists besides the tree itself.
    private let inUse: [Extent]
    /// The files of all sessions.
    private let files: [LuoTree.File]
    /// The ranges of all files and FLBs.
    private let allRanges: [StoredRange]
    /// The length of the tree in bytes.
    let length: UInt64

    /// The room for one flattened tree. libfdt refuses a tree that does not fit.
    private static let treeRoom: UInt64 = 512
    /// The offset of the records, which follow the flattened trees.
    private let recordsOffset: UInt64
    private let hasHolders: Bool
    private let hasMakers: Bool
    private let hasAttestations: Bool
    private let hasMarks: Bool
    /// The reasons of the files that are left out.
    private let reasons: [ReasonRecord]
    /// The offset of the times of the freeze.
    let freezeOffset: UInt64

    init(tree: LuoTree, inUse: [Extent]) {
        self.tree = tree
        self.inUse = inUse
        hasHolders = tree.sessions.contains { $0.user != 0 || $0.isDetached }
        hasMakers = tree.sessions.contains { $0.maker != nil }
        files = tree.sessions.flatMap(\.files)
        hasAttestations = files.contains { $0.attestation != 0 }
        let more = [hasHolders, hasMakers, hasAttestations].count { $0 }
        recordsOffset = UInt64(5 + more) * Self.treeRoom
        hasMarks = files.contains { !$0.marks.isEmpty }
        reasons = files.compactMap { $0.leftOut.map { ReasonRecord(reason: $0.reason) } }
        allRanges = files.flatMap(\.ranges) + tree.flbs.flatMap(\.ranges) + tree.discarded.flatMap(\.ranges)
        let flbs = tree.flbs.count + tree.discarded.count
        let sessionPart = 8 + tree.sessions.count * SessionRecord.length + files.count * FileRecord.length
        let flbPart = 16 + tree.flbs.count * FLBRecord.length
        let slotPart =
            SlotHeader.length + files.count * FileSlotRecord.length + flbs * FLBSlotRecord.length
            + tree.discarded.count * FLBRecord.length + reasons.count * ReasonRecord.length
            + allRanges.count * RangeRecord.length
        freezeOffset = recordsOffset + UInt64(sessionPart + flbPart + SlotHeader.freezeOffset)
        let holderPart = hasHolders ? tree.sessions.count * HolderRecord.length : 0
        let makerPart = hasMakers ? tree.sessions.count * MakerRecord.length : 0
        let attestationPart = hasAttestations ? files.count * AttestationRecord.length : 0
        let mapPart = 8 + (inUse.count + 1) * 16
        length =
            recordsOffset
            + UInt64(sessionPart + flbPart + slotPart + holderPart + makerPart + attestationPart + mapPart)
    }

    /// The tree's bytes, for a place in the arena.
    ///
    /// - Throws: the error of libfdt, which would be our own fault.
    func bytes(at base: UInt64) throws(DeviceTreeError) -> [UInt8] {
        var records = ByteWriter(capacity: Int(length))
        func here() -> UInt64 { base + recordsOffset + UInt64(records.bytes.count) }

        let sessions = here()
        writeSessions(into: &records, at: sessions)
        let flbs = here()
        writeFLBs(into: &records)
        let slots = here()
        writeSlots(into: &records, at: slots)
        let holders = here()
        if hasHolders { writeHolders(into: &records) }
        let makers = here()
        if hasMakers { for session in tree.sessions { MakerRecord(maker: session.maker).encode(into: &records) } }
        let attestations = here()
        if hasAttestations {
            for file in files { AttestationRecord(offset: file.attestation).encode(into: &records) }
        }
        let map = here()
        writeMap(into: &records, tree: Extent(offset: base, length: length))

        var image = ByteWriter(capacity: Int(length))
        var parts = [
            (LuoNames.luo, tree.updateNumber), (LuoNames.sessions, sessions), (LuoNames.flbs, flbs),
            (hasMarks ? LuoNames.markedSlots : LuoNames.slots, slots),
        ]
        if hasHolders { parts.append((LuoNames.holders, holders)) }
        if hasMakers { parts.append((LuoNames.makers, makers)) }
        if hasAttestations { parts.append((LuoNames.attestations, attestations)) }
        for (index, node) in nodes(parts, map: map, base: base).enumerated() {
            image.put(try node.flattened(capacity: Int(Self.treeRoom)))
            image.pad((index + 1) * Int(Self.treeRoom) - image.bytes.count)
        }
        image.put(records.bytes)
        return image.bytes
    }

    typealias Names = (node: String, compatible: String, property: String)

    private func nodes(_ parts: [(names: Names, value: UInt64)], map: UInt64, base: UInt64) -> [DeviceTreeNode] {
        let subsystems = parts.map { names, value in
            DeviceTreeNode("", [("compatible", .string(names.compatible)), (names.property, .u64(value))])
        }
        let children = parts.enumerated().map { index, part in
            DeviceTreeNode(part.names.node, [(LuoNames.subtree, .u64(base + UInt64(index + 1) * Self.treeRoom))])
        }
        let root = DeviceTreeNode(
            "", [("compatible", .string(LuoNames.handover)), (LuoNames.memoryMap, .u64(map))], children: children)
        return [root] + subsystems
    }

    private func writeHolders(into writer: inout ByteWriter) {
        for session in tree.sessions {
            HolderRecord(user: session.user, isDetached: session.isDetached).encode(into: &writer)
        }
    }

    private func writeSessions(into writer: inout ByteWriter, at start: UInt64) {
        var files = start + 8 + UInt64(tree.sessions.count * SessionRecord.length)
        writer.put(UInt64(tree.sessions.count))
        for session in tree.sessions {
            let count = UInt64(session.files.count)
            SessionRecord(name: session.name, files: count == 0 ? 0 : files, count: count).encode(into: &writer)
            files += count * UInt64(FileRecord.length)
        }
        for file in self.files { file.record.encode(into: &writer) }
    }

    private func writeFLBs(into writer: inout ByteWriter) {
        let bytes = UInt64(16 + tree.flbs.count * FLBRecord.length)
        writer.put((bytes + pageLength - 1) / pageLength)
        writer.put(UInt64(tree.flbs.count))
        for flb in tree.flbs { flb.record.encode(into: &writer) }
    }

    private func writeSlots(into writer: inout ByteWriter, at start: UInt64) {
        let flbs = tree.flbs.count + tree.discarded.count
        var ranges = start + UInt64(SlotHeader.length + files.count * FileSlotRecord.length)
        ranges += UInt64(flbs * FLBSlotRecord.length + tree.discarded.count * FLBRecord.length)
        ranges += UInt64(reasons.count * ReasonRecord.length)
        func take(_ stored: [StoredRange]) -> (offset: UInt64, count: UInt64) {
            defer { ranges += UInt64(stored.count * RangeRecord.length) }
            return (stored.isEmpty ? 0 : ranges, UInt64(stored.count))
        }
        SlotHeader(
            files: UInt64(files.count), flbs: UInt64(tree.flbs.count), discarded: UInt64(tree.discarded.count),
            freezeStart: tree.freeze.start, freezeEnd: tree.freeze.end,
            journalRoom: tree.journalRoom
        ).encode(into: &writer)
        for file in files {
            let place = take(file.ranges)
            FileSlotRecord(
                slot: file.slot.number, identity: file.identity, links: file.links, ranges: place.offset,
                rangeCount: place.count, marks: file.marks, errno: file.leftOut.map { UInt16($0.errno) } ?? 0
            ).encode(into: &writer)
        }
        for flb in tree.flbs + tree.discarded {
            let place = take(flb.ranges)
            FLBSlotRecord(ranges: place.offset, rangeCount: place.count).encode(into: &writer)
        }
        for flb in tree.discarded { flb.record.encode(into: &writer) }
        for reason in reasons { reason.encode(into: &writer) }
        for stored in allRanges { RangeRecord(stored).encode(into: &writer) }
    }

    private func writeMap(into writer: inout ByteWriter, tree: Extent) {
        let ranges = (inUse + [tree]).sorted { $0.offset < $1.offset }
        writer.put(UInt64(ranges.count))
        for range in ranges {
            writer.put(range.offset)
            writer.put(range.length)
        }
    }
}

extension LuoTree.File {
    fileprivate var marks: FileMarks { FileMarks(holdsFile: holdsFile, isLeftOut: leftOut != nil) }
}

/// The length of the pages that the FLB header counts.
private let pageLength: UInt64 = 4096
