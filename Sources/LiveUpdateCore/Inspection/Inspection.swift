// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateHandover
import LiveUpdatePlatform

/// The contents of an arena that can be read without running it: its journal, its trees, and the reasons why a boot
/// would not open it.
///
/// The inspection reads with the code of a boot, and goes on where a boot gives up. The state is the state after the
/// last valid record, and trees are shown although the journal is damaged. The inspection knows no handlers, so it does
/// not check that each file has one.
package struct Inspection: Sendable {
    /// The arena itself.
    package let arena: ArenaInspection
    /// The state that the journal describes; nil without a journal.
    package let state: InspectedState?
    /// The trees in the arena: the tree of the previous boot, and the tree for the next boot.
    package let trees: [InspectedTree]
    /// The reasons why a boot would not open the arena, with one ``Orchestrator/Opening`` or another, and other damage:
    /// in a tree that is no longer read, or in the records of callbacks.
    package let failures: [ArenaError]
    /// The result of the check of each invariant by itself.
    package let invariants: InvariantCheck

    /// Inspects a snapshot of the arena.
    package init(_ snapshot: ArenaSnapshot) {
        let arena = ArenaInspection(snapshot)
        var read = PartialState()
        for entry in arena.journal?.entries ?? [] {
            read.apply("record \(entry.sequence)") { () throws(ArenaError) in try Event(entry.record) }
        }
        read.claim([], in: arena)
        let state = arena.journal.map { _ in InspectedState(read.state, in: arena) }
        let trees = [ArenaPart.incomingTree, .outgoingTree].compactMap { part in
            arena.place(of: part).map { InspectedTree(part, at: $0, in: arena) }
        }
        let stored = ([state] + trees.map(\.state)).compactMap { $0?.storedFailures }.flatMap { $0 }
        self.arena = arena
        self.state = state
        self.trees = trees
        invariants = InvariantCheck(arena)
        // Records of callbacks may be gone if a boot committed while the snapshot was taken.
        failures =
            arena.failures + [read.failure].compactMap { $0 } + trees.compactMap(\.failure)
            + (snapshot.isSettled ? stored : [])
    }

    /// The journal's records in words, also those that cannot be decoded.
    package var log: [InspectedRecord] { (arena.journal?.entries ?? []).map(InspectedRecord.init) }

    /// The records that the handler of a file has stored, for a caller that knows their format.
    package func records(of file: InspectedState.File) -> InspectedRecords {
        InspectedRecords(of: file, in: arena)
    }
}

/// A record of the journal.
package struct InspectedRecord: Sendable {
    /// The number of the record, one more than the number of the record before.
    package let sequence: UInt64
    /// The offset in bytes from the arena's start.
    package let offset: UInt64
    /// The event in words; nil for a record that cannot be decoded.
    package let words: String?
    /// The reason why the record cannot be decoded.
    package let failure: ArenaError?

    fileprivate init(_ entry: InspectedJournal.Entry) {
        sequence = entry.sequence
        offset = entry.offset
        do throws(ArenaError) {
            words = try Event(entry.record).words
            failure = nil
        } catch {
            words = nil
            failure = error
        }
    }
}
