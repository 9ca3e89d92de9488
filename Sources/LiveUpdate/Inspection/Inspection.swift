package import Handover
import Platform

/// Everything that can be read of an arena without running it: what its journal and its trees say, and why a boot would
/// not open it.
///
/// It reads as a boot does, with the same code, and goes on where a boot gives up: the state is that of the last record
/// that makes sense, and a tree is shown although the journal is broken. It knows no handlers, so it does not ask whether
/// there is one for each file.
package struct Inspection: Sendable {
    /// The arena itself.
    package let arena: ArenaInspection
    /// What is true by the journal; nil without one.
    package let state: InspectedState?
    /// The trees that are there: that of the previous boot, that for the next one.
    package let trees: [InspectedTree]
    /// Why a boot would not open it, under one ``Orchestrator/Opening`` or the other, and what is damaged besides: a tree
    /// that is no longer read, or what callbacks have stored.
    package let failures: [ArenaError]

    /// Looks at everything once.
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
        // What was stored may be gone already, when somebody committed while it was copied.
        failures =
            arena.failures + [read.failure].compactMap { $0 } + trees.compactMap(\.failure)
            + (snapshot.isSettled ? stored : [])
    }

    /// The journal's records in words, also those that make no sense.
    package var log: [InspectedRecord] { (arena.journal?.entries ?? []).map(InspectedRecord.init) }

    /// What the handler of a file has stored, for who knows its format.
    package func records(of file: InspectedState.File) -> InspectedRecords {
        InspectedRecords(of: file, in: arena)
    }
}

/// A record of the journal.
package struct InspectedRecord: Sendable {
    /// Its number, one more than that of the record before.
    package let sequence: UInt64
    /// In bytes from the arena's start.
    package let offset: UInt64
    /// What happened; nil when the record does not say.
    package let words: String?
    /// Why it says nothing.
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
