package import Handover
package import Platform

/// What is true in a boot, as far as it can be read.
package struct InspectedState: Sendable {
    /// A session.
    package struct Session: Sendable {
        /// As it was made, or handed over.
        package let name: SessionName
        /// Made in this boot, or handed over to it.
        package let direction: Direction
        /// Whether somebody has it open.
        package let isOpen: Bool
        /// Whether its files were let go: incoming ones only.
        package let isFinished: Bool
        /// In the order in which they were preserved.
        package let files: [File]
    }

    /// A preserved file.
    package struct File: Sendable {
        /// What a running orchestrator says of it.
        package let status: Status.File
        /// The FLBs that it is counted on, in link order.
        package let flbs: [String]
        /// What its handler has stored.
        package let stored: [Stored]
    }

    /// An FLB, in one direction.
    package struct FLB: Sendable {
        /// What a running orchestrator says of it.
        package let status: Status.FLB
        /// Whether its sessions were discarded: it is still to be finished.
        package let isDiscarded: Bool
        /// The handle that its preserve or serialize returned.
        package let data: UInt64
        /// What it has stored.
        package let stored: [Stored]
    }

    /// A range that a callback has stored.
    package struct Stored: Sendable {
        /// Where, in bytes from the arena's start.
        package let place: Extent
        /// What it had when it was stored.
        package let checksum: UInt32
        /// It overlaps another or leaves the arena (`record`), or does not have its checksum (`checksum`).
        package let failure: ArenaError?
        let isInside: Bool
    }

    /// Whether another boot goes on with it: what callbacks have stored was not looked at, and may be gone.
    package let isOver: Bool
    /// Updates so far.
    package let updateNumber: UInt64
    /// Whether files are being frozen, or are frozen.
    package let isFreezing: Bool
    /// Incoming ones first, each in creation order.
    package let sessions: [Session]
    /// Incoming ones first, then outgoing ones, then discarded ones.
    package let flbs: [FLB]

    init(_ state: BootState, in arena: ArenaInspection, isOver: Bool = false) {
        let flbs = state.flbs(.incoming) + state.flbs(.outgoing) + state.flbs(.discarded)
        let misplaced = isOver ? [] : arena.misplaced(state.rangesInUse)
        func stored(_ ranges: [StoredRange]) -> [Stored] {
            ranges.map { isOver ? Stored($0) : Stored($0, isInside: !misplaced.contains($0.range), in: arena) }
        }
        self.isOver = isOver
        updateNumber = state.updateNumber
        isFreezing = state.phase == .freezing
        sessions = (state.sessions(.incoming) + state.sessions(.outgoing)).map { session in
            Session(
                name: session.name, direction: session.direction, isOpen: session.progress != .waiting,
                isFinished: session.progress == .finished,
                files: state.files(of: session).map { file in
                    File(
                        status: Status.File(file), flbs: file.flbs.compactMap { state.flbs[$0]?.compatible },
                        stored: stored(file.ranges))
                })
        }
        self.flbs = flbs.map { flb in
            FLB(
                status: Status.FLB(flb), isDiscarded: flb.kind == .discarded, data: flb.data, stored: stored(flb.ranges)
            )
        }
    }

    var storedFailures: [ArenaError] {
        let files = sessions.flatMap(\.files).flatMap(\.stored)
        return (files + flbs.flatMap(\.stored)).compactMap(\.failure)
    }
}

extension InspectedState.Stored {
    fileprivate init(_ range: StoredRange) {
        self.init(place: range.range, checksum: range.checksum, failure: nil, isInside: false)
    }

    fileprivate init(_ range: StoredRange, isInside: Bool, in arena: ArenaInspection) {
        let name = "the records at offset \(range.range.offset), \(range.range.length) bytes"
        var failure: ArenaError?
        if !isInside {
            failure = ArenaError(.record, "\(name), overlaps another range or the arena's end")
        } else if arena.checksum(of: range.range) != range.checksum {
            failure = ArenaError(.checksum, name)
        }
        self.init(place: range.range, checksum: range.checksum, failure: failure, isInside: isInside)
    }
}

/// What events make of nothing, up to the first that cannot be.
struct PartialState {
    private(set) var state = BootState()
    private(set) var failure: ArenaError?

    /// - Parameter what: what the event is from, to be named when it cannot be.
    mutating func apply(_ what: @autoclosure () -> String, _ event: () throws(ArenaError) -> Event) {
        guard failure == nil else { return }
        do throws(ArenaError) {
            try state.apply(event())
        } catch {
            failure = ArenaError(error.gate, "\(what()): \(error.reason)", errno: error.errno)
        }
    }

    /// As a boot does with all that it has read.
    mutating func claim(_ more: [Extent], in arena: ArenaInspection) {
        guard failure == nil else { return }
        do throws(ArenaError) {
            try state.checkNumbers()
            try arena.checkInUse(state.rangesInUse + more)
        } catch {
            failure = error
        }
    }
}
