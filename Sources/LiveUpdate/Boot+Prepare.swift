import Handover
import Platform
import SystemPackage

/// What a next boot has read of a draft: everything that it needs once that has been published.
struct PreparedBoot: Sendable {
    let range: Extent
    /// The tree's bytes as they were read, and where in them the times of the freeze are, which are not known yet.
    let image: [UInt8]
    let freezeOffset: Int
    let inUse: [Extent]
    let journalRoom: Extent
    /// What the events make of nothing.
    let state: BootState
    /// The events.
    let journal: PreparedJournal
}

extension Boot {
    /// Reads and checks a draft, as ``open`` would when it was published. Nothing of the old boot is touched. What cannot
    /// be read, because it has changed by now, is not prepared: the open finds out.
    func prepare(on range: Extent) throws(LiveUpdateError) {
        try gate.enter(.exclusive) { () throws(LiveUpdateError) in
            guard case .unopened = shared.with({ $0.status }), opening == .onTrial else {
                throw LiveUpdateError(.invalidArgument, "only a boot on trial prepares itself, and before it opens")
            }
            let prepared = try readDraft(range)
            shared.with { $0.prepared = prepared }
        }
    }

    private func readDraft(_ range: Extent) throws(LiveUpdateError) -> PreparedBoot {
        try untouched { () throws(ArenaError) in
            try arena.reload()
            guard range.offset <= arena.size, range.length <= arena.size - range.offset else {
                throw ArenaError(.tree, "a draft outside of the arena")
            }
        }
        let reader = LuoTreeReader(arena: arena, range: range)
        let tree = try untouched { () throws(ArenaError) in try reader.read() }
        let events = try withoutLost(tree).events + [.phase(.booting)]
        return try untouched { () throws(ArenaError) in
            let state = try BootState(events)
            try check(state)
            return PreparedBoot(
                range: range, image: reader.image, freezeOffset: try reader.freezeOffset(),
                inUse: tree.rangesInUse, journalRoom: tree.journalRoom, state: state,
                journal: arena.prepare(events.map(\.record), in: tree.journalRoom))
        }
    }

    /// Takes over a tree that is, byte for byte but for the times of the freeze, the one that was prepared.
    ///
    /// - Returns: false for another one: then nothing was done.
    func takeOverPrepared(_ range: Extent, answering answer: Answer?) throws(LiveUpdateError) -> Bool {
        guard let prepared = shared.with({ $0.prepared.take() }), prepared.range == range,
            arena.holds(prepared.image, at: range.offset, but: prepared.freezeOffset..<prepared.freezeOffset + 16)
        else { return false }
        let events = answered(answer)
        try untouched { () throws(ArenaError) in
            var state = prepared.state
            for event in events { try state.apply(event) }
            try arena.takeOver(
                prepared.journal, and: events.map(\.record), inUse: prepared.inUse, journalIn: prepared.journalRoom)
            adopt(state)
            var times = ByteReader(
                try arena.read(at: range.offset + UInt64(prepared.freezeOffset), count: 16), "times of the freeze")
            let freeze = FreezeTime(start: try times.take(), end: try times.take())
            shared.with { $0.freeze = freeze }
        }
        return true
    }
}
