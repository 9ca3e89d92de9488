// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform

extension InspectDocument {
    /// Describes the result of an inspection.
    init(_ arena: String, _ found: Inspection, log: Bool, pages: Bool) {
        let snapshot = found.arena.snapshot
        let read = { (state: InspectedState) in InspectedBoot(state, in: found, pages: pages) }
        self.arena = arena
        file = File(size: snapshot.fileSize, locked: snapshot.isLocked, settled: snapshot.isSettled)
        superblock = found.arena.words.map(Superblock.init)
        tables = found.arena.tables.map(Table.init)
        journal = found.arena.journal.map { Journal($0, log: log ? found.log : nil) }
        state = found.state.map(read)
        state?.phase = Self.phase(found)
        trees = found.trees.map { Tree($0, state: $0.state.map(read)) }
        // If the boot committed while the arena was copied, handlers' records may be missing, so their failures do not
        // count.
        let records = ([state] + trees.map(\.state)).flatMap { $0?.recordFailures ?? [] }
        failures = found.failures.map(Failure.init) + (snapshot.isSettled ? records : [])
        invariants = Invariants(found.invariants, records: snapshot.isSettled ? records : [])
        sound = failures.isEmpty
    }

    /// The phase of a boot. The journal has no record of publishing: the outgoing tree shows it.
    private static func phase(_ found: Inspection) -> String? {
        if found.trees.contains(where: { $0.part == .outgoingTree }) { return "published" }
        return found.state.map { $0.isFreezing ? "freezing" : "running" }
    }
}

extension InspectDocument.Invariants {
    /// Describes the result of a check. `records` are the failures of the handlers' records.
    init(_ found: InvariantCheck, records: [InspectDocument.Failure]) {
        let isRead = found.checked.contains(.references)
        checked = (found.checked + (isRead ? [.fileRecords] : [])).map(\.rawValue)
        let unreadable = records.map { BrokenInvariant(.fileRecords, "the records of handlers", $0.reason) }
        broken = (found.broken + unreadable).map(InspectDocument.Broken.init)
    }
}

extension InspectDocument.Broken {
    init(_ broken: BrokenInvariant) {
        self.init(
            invariant: broken.invariant.rawValue, place: broken.place, reason: broken.reason,
            consequence: broken.invariant.consequence)
    }
}

extension InspectDocument.Failure {
    init(_ error: ArenaError) { self.init(gate: error.gate.rawValue, reason: error.reason) }
}

extension InspectDocument.Word {
    init(_ word: Checked<UInt64>) {
        self.init(value: word.value, failure: word.failure.map(InspectDocument.Failure.init))
    }

    init(_ word: Checked<UInt32>) {
        self.init(value: UInt64(word.value), failure: word.failure.map(InspectDocument.Failure.init))
    }
}

extension InspectDocument.Superblock {
    init(_ words: InspectedWords) {
        self.init(
            magic: .init(words.magic), version: .init(words.version), pageSize: .init(words.pageSize),
            size: .init(words.size), generation: words.generation)
    }
}

extension InspectDocument.Table {
    init(_ table: InspectedTable) {
        self.init(
            offset: table.offset, generation: table.generation, whole: table.isWhole, current: table.isTrue,
            used: table.isInUse,
            slots: table.slots.map { slot in
                InspectDocument.Slot(
                    part: slot.part.rawValue, offset: slot.place?.offset, size: slot.place?.length,
                    generation: slot.generation, checksum: slot.checksum,
                    failure: slot.failure.map(InspectDocument.Failure.init))
            })
    }
}

extension InspectDocument.Journal {
    init(_ journal: InspectedJournal, log: [InspectedRecord]?) {
        let failure = journal.headerFailure ?? journal.recordsFailure
        self.init(
            offset: journal.place.offset, size: journal.place.length, firstSequence: journal.firstSequence,
            tail: journal.tail, records: journal.entries.count, failure: failure.map(InspectDocument.Failure.init),
            log: log?.map { record in
                InspectDocument.Record(
                    sequence: record.sequence, offset: record.offset, event: record.words,
                    failure: record.failure.map(InspectDocument.Failure.init))
            })
    }
}

extension InspectDocument.Tree {
    init(_ tree: InspectedTree, state: InspectedBoot?) {
        self.init(
            part: tree.part.rawValue, offset: tree.place.offset, size: tree.place.length,
            freezeStart: tree.freeze?.start, freezeEnd: tree.freeze?.end, journalRoomOffset: tree.journalRoom?.offset,
            journalRoomSize: tree.journalRoom?.length, failure: tree.failure.map(InspectDocument.Failure.init),
            flattened: tree.flattened.map { flattened in
                InspectDocument.Flattened(
                    name: flattened.name, offset: flattened.offset, dts: flattened.source,
                    failure: flattened.failure.map(InspectDocument.Failure.init))
            }, state: state)
    }
}
