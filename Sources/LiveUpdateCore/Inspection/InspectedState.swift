// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateHandover
package import LiveUpdatePlatform

/// The state of a boot, as far as it can be read.
package struct InspectedState: Sendable {
    /// A session.
    package struct Session: Sendable {
        /// The name with which the session was created or handed over.
        package let name: SessionName
        /// Outgoing if this boot created the session, incoming if it was handed over to this boot.
        package let direction: Direction
        /// Whether the session is open.
        package let isOpen: Bool
        /// Whether the session is finished. Only an incoming session can be.
        package let isFinished: Bool
        /// The files in the order of their preserves.
        package let files: [File]
    }

    /// A preserved file.
    package struct File: Sendable {
        /// The file as in the status of a running orchestrator.
        package let status: Status.File
        /// The FLBs that it is counted on, in link order.
        package let flbs: [String]
        /// The ranges that its handler has stored.
        package let stored: [Stored]
    }

    /// An FLB, in one direction.
    package struct FLB: Sendable {
        /// The FLB as in the status of a running orchestrator.
        package let status: Status.FLB
        /// Whether its sessions were discarded. The FLB must still be finished then.
        package let isDiscarded: Bool
        /// The handle that its preserve or serialize returned.
        package let data: UInt64
        /// The ranges that the FLB has stored.
        package let stored: [Stored]
    }

    /// A range that a callback has stored.
    package struct Stored: Sendable {
        /// The place of the range, in bytes from the arena's start.
        package let place: Extent
        /// The checksum that the range had when it was stored.
        package let checksum: UInt32
        /// The reason why the range is damaged: it overlaps another range or leaves the arena (`record`), or its
        /// contents do not match the checksum (`checksum`). Nil for an intact range.
        package let failure: ArenaError?
        let isInside: Bool
    }

    /// Whether another boot goes on with this state. The stored ranges were not checked then, because they may be gone.
    package let isOver: Bool
    /// The number of updates so far.
    package let updateNumber: UInt64
    /// Whether files are being frozen, or are frozen.
    package let isFreezing: Bool
    /// The sessions: incoming ones first, and each direction in creation order.
    package let sessions: [Session]
    /// The FLBs: incoming ones first, then outgoing ones, then discarded ones.
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

/// The state that events make, beginning with an empty state, up to the first impossible event.
struct PartialState {
    private(set) var state = BootState()
    private(set) var failure: ArenaError?

    /// Applies an event, unless an earlier one was impossible. `what` is the source of the event. The failure names it
    /// if the event is impossible.
    mutating func apply(_ what: @autoclosure () -> String, _ event: () throws(ArenaError) -> Event) {
        guard failure == nil else { return }
        do throws(ArenaError) {
            try state.apply(event())
        } catch {
            failure = ArenaError(error.gate, "\(what()): \(error.reason)", errno: error.errno)
        }
    }

    /// Checks the whole state, as a boot does when it has read everything.
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
