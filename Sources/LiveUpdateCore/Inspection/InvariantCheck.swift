// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateHandover
import LiveUpdatePlatform

/// The check of all invariants of an arena: a function from its bytes. It knows no handlers, so that the caller adds
/// ``ArenaInvariant/fileRecords``.
///
/// An arena has no list of allocations besides its journal and its trees: a range that none of them names is free. So
/// a range cannot leak, and reachability is a question about the tree's own list only.
package struct InvariantCheck: Sendable {
    /// The invariants that could be checked. Without an arena only the superblock can be, and without a journal nothing
    /// that its records say.
    package private(set) var checked: [ArenaInvariant] = [.superblock]
    /// The broken invariants, in the order of the arena's parts.
    package private(set) var broken: [BrokenInvariant] = []

    private let arena: ArenaInspection
    private let isSettled: Bool

    /// Checks an arena.
    package init(_ arena: ArenaInspection) {
        self.arena = arena
        isSettled = arena.snapshot.isSettled
        checkSuperblock()
        guard !arena.tables.isEmpty else { return }
        checked += [.generations, .sums, .ranges, .overlap]
        checkTables()
        let trees = [ArenaPart.incomingTree, .outgoingTree].compactMap { part in
            arena.place(of: part).flatMap { read(part, $0) }
        }
        let journal = arena.journal.map { replay($0) }
        if journal != nil { checked += [.journal] }
        if journal != nil || !trees.isEmpty {
            checked += [.numbers, .references, .names, .tokens, .holds, .slots, .counts, .leftOut]
        }
        if let journal { checkEnd(journal, "the journal", others: []) }
        if arena.place(of: .incomingTree) != nil || arena.place(of: .outgoingTree) != nil {
            checked += [.tree, .reachability, .agreement]
        }
        guard let next = trees.first(where: { $0.part == .outgoingTree }) else { return }
        if let journal { checkAgreement(next.tree, journal) }
    }

    private mutating func note(_ invariant: ArenaInvariant, _ place: String, _ reason: String) {
        broken.append(BrokenInvariant(invariant, place, reason))
    }

    // MARK: The superblock and its tables

    private mutating func checkSuperblock() {
        guard let words = arena.words else {
            return note(.superblock, "the file", arena.failures.first?.reason ?? "the file has no superblock")
        }
        for failure in [words.magic.failure, words.version.failure, words.pageSize.failure, words.size.failure] {
            if let failure { note(.superblock, "the superblock", failure.reason) }
        }
    }

    private mutating func checkTables() {
        guard let generation = arena.words?.generation else { return }
        let current = arena.tables[Int(generation % 2)]
        let place = "the table of slots at offset \(current.offset)"
        if !current.isWhole {
            note(.sums, place, "the table does not match its checksum")
        } else if current.generation != generation {
            note(
                .generations, place, "the table is of generation \(current.generation), the superblock of \(generation)"
            )
        }
        for table in arena.tables where table.isWhole && table.generation > generation &+ 1 && !table.isTrue {
            guard table.offset != current.offset else { continue }
            note(
                .generations, "the table of slots at offset \(table.offset)",
                "the table is of generation \(table.generation), more than one after the superblock's \(generation)")
        }
        for table in arena.tables where table.isInUse { for slot in table.slots { check(slot, of: table) } }
    }

    private mutating func check(_ slot: InspectedTable.Slot, of table: InspectedTable) {
        let place = "the slot of the \(slot.part) at offset \(table.offset)"
        if slot.place != nil, slot.generation > table.generation {
            note(.generations, place, "the slot is of generation \(slot.generation), its table of \(table.generation)")
        }
        guard let failure = slot.failure else { return }
        let isOutside = slot.place.map { !isPlaced($0) } ?? true
        note(
            isOutside ? .ranges : .sums, place, isOutside ? failure.reason : "\(failure.reason) does not match its sum")
    }

    /// Whether a part is where its gate wants it: behind the superblock, at a multiple of 8, within the arena.
    private func isPlaced(_ place: Extent) -> Bool {
        place.offset >= 4096 && place.offset % 8 == 0 && place.length <= arena.size && place.length >= 64
            && place.offset <= arena.size - place.length
    }

    // MARK: The journal

    private mutating func replay(_ journal: InspectedJournal) -> InvariantReplay {
        if let failure = journal.headerFailure {
            note(.journal, "the journal at offset \(journal.place.offset)", failure.reason)
        }
        if let failure = journal.recordsFailure {
            let isSum = failure.reason.contains("checksum")
            note(isSum ? .sums : .journal, "the journal at offset \(journal.place.offset)", failure.reason)
        }
        var replay = InvariantReplay()
        for entry in journal.entries {
            let place = "record \(entry.sequence) at offset \(entry.offset)"
            do throws(ArenaError) {
                replay.apply(try Event(entry.record), at: place)
            } catch {
                note(.journal, place, error.reason)
            }
        }
        broken += replay.broken
        return replay
    }

    // MARK: Trees

    private mutating func read(_ part: ArenaPart, _ place: Extent) -> (part: ArenaPart, tree: LuoTree)? {
        let reader = LuoTreeReader(arena: arena, range: place)
        let name = "the \(part) at offset \(place.offset)"
        do throws(ArenaError) {
            let (tree, map) = try reader.contents()
            if let failure = reader.mapFailure(tree, map: map) { note(.reachability, name, failure.reason) }
            var replay = InvariantReplay()
            for event in tree.events { replay.apply(event, at: name) }
            broken += replay.broken
            // The incoming tree was taken over: its ranges and slots may belong to others now.
            checkEnd(replay, name, others: part == .outgoingTree ? [tree.journalRoom] : nil)
            return (part, tree)
        } catch {
            note(.tree, name, error.reason)
            return nil
        }
    }

    private mutating func checkAgreement(_ tree: LuoTree, _ journal: InvariantReplay) {
        let name = "the outgoing tree"
        if journal.phase != .freezing {
            note(.agreement, name, "the tree is published, and the journal is not freezing")
        }
        let sessions = journal.sessions.values.map(\.value).filter { $0.direction == .outgoing }
        let known = Dictionary(sessions.map { ($0.ownedName, $0) }) { first, _ in first }
        if tree.sessions.count != sessions.count {
            note(
                .agreement, name,
                "the tree has \(tree.sessions.count) sessions, the journal \(sessions.count) outgoing ones")
        }
        for session in tree.sessions {
            guard let files = known[OwnedName(session.user, session.name)]?.files else {
                note(.agreement, name, "session \"\(session.name)\" of user \(session.user) is not in the journal")
                continue
            }
            let there = Set(files.compactMap { journal.files[$0]?.value }.map(FileKey.init))
            for file in session.files.map(FileKey.init) where !there.contains(file) {
                note(
                    .agreement, name,
                    "token \(file.token) of session \"\(session.name)\" is another file in the journal")
            }
            if files.count != session.files.count {
                note(
                    .agreement, name,
                    "session \"\(session.name)\" has \(session.files.count) files, and \(files.count) in the journal")
            }
        }
    }

    /// The parts of a file that the journal and a tree must have in common.
    private struct FileKey: Hashable {
        let token: UInt64
        let slot: DescriptorSlot
        let identity: FileIdentity

        init(_ file: FileState) { (token, slot, identity) = (file.token, file.slot, file.identity) }
        init(_ file: LuoTree.File) { (token, slot, identity) = (file.record.token, file.slot, file.identity) }
    }

    // MARK: The state at the end of the records

    /// A range with its holder.
    private struct NamedRange {
        let range: Extent
        let name: String
        /// The checksum of the range; nil where a slot of the superblock has it.
        var checksum: UInt32?

        /// The end of the range in whole granules: two ranges never share one.
        var end: UInt64 { range.offset + (max(range.length, 1) + 63) / 64 * 64 }
    }

    /// Checks what must hold when all records were applied. `others` are ranges that the part holds besides those of
    /// its files; nil if its ranges are no longer its own.
    private mutating func checkEnd(_ state: InvariantReplay, _ part: String, others: [Extent]?) {
        checkCounts(state, part)
        checkSlots(state, part)
        guard let others else { return }
        let own = arena.ownRanges.map { NamedRange(range: $0, name: "the journal or a tree") }
        let more = others.map { NamedRange(range: $0, name: "the room for the next journal") }
        checkRanges(own + more + Self.ranges(of: state), part)
    }

    private mutating func checkCounts(_ state: InvariantReplay, _ part: String) {
        var counts: [FLBID: UInt64] = [:]
        for file in state.files.values { for id in file.value.flbs { counts[id, default: 0] += 1 } }
        for (id, flb) in state.flbs.sorted(by: { $0.key < $1.key }) where flb.value.kind != .discarded {
            let count = counts[id] ?? 0
            guard flb.value.count != count else { continue }
            note(
                .counts, flb.place,
                "\(flb.value.kind) FLB \"\(flb.value.compatible)\" counts \(flb.value.count) files, and \(count) count on it"
            )
        }
    }

    private mutating func checkSlots(_ state: InvariantReplay, _ part: String) {
        var holders: [DescriptorSlot: String] = [:]
        func holds(_ slot: DescriptorSlot, _ name: String, _ place: String) -> BrokenInvariant? {
            guard slot != .lost else { return nil }
            defer { holders[slot] = holders[slot] ?? name }
            return holders[slot].map {
                BrokenInvariant(.slots, place, "slot \(slot.number) belongs to \(name) and to \($0)")
            }
        }
        for (_, session) in state.sessions.sorted(by: { $0.key < $1.key }) {
            let name = "session \"\(session.value.name)\""
            if let found = holds(session.value.holder.slot, name, session.place) { broken.append(found) }
        }
        for (_, file) in state.files.sorted(by: { $0.key < $1.key }) {
            let found = holds(file.value.slot, Self.name(of: file.value, in: state), file.place)
            if let found { broken.append(found) }
        }
    }

    private static func name(of file: FileState, in state: InvariantReplay) -> String {
        "token \(file.token) of session \"\(state.sessions[file.session]?.value.name.description ?? "?")\""
    }

    private static func ranges(of state: InvariantReplay) -> [NamedRange] {
        let files = state.files.values.flatMap { file -> [NamedRange] in
            let name = name(of: file.value, in: state)
            return file.value.ranges.map { NamedRange(range: $0.range, name: name, checksum: $0.checksum) }
        }
        let flbs = state.flbs.values.flatMap { flb -> [NamedRange] in
            let name = "\(flb.value.kind) FLB \"\(flb.value.compatible)\""
            return flb.value.ranges.map { NamedRange(range: $0.range, name: name, checksum: $0.checksum) }
        }
        return files + flbs
    }

    private mutating func checkRanges(_ ranges: [NamedRange], _ part: String) {
        var last: NamedRange?
        for range in ranges.sorted(by: { ($0.range.offset, $0.name) < ($1.range.offset, $1.name) }) {
            let words = "range \(range.range.offset)+\(range.range.length) of \(range.name)"
            guard isInside(range.range) else {
                note(.ranges, part, "\(words) is not at a granule between the superblock and the end, \(arena.size)")
                continue
            }
            if let before = last, before.end > range.range.offset {
                note(
                    .overlap, part,
                    "\(words) overlaps range \(before.range.offset)+\(before.range.length) of \(before.name)")
            } else if isSettled, let sum = range.checksum, arena.checksum(of: range.range) != sum {
                note(.sums, part, "\(words) does not match its checksum")
            }
            if last.map({ $0.end < range.end }) ?? true { last = range }
        }
    }

    private func isInside(_ range: Extent) -> Bool {
        range.offset >= 4096 && range.offset % 64 == 0 && range.length <= arena.size
            && range.offset <= arena.size - range.length
    }
}
