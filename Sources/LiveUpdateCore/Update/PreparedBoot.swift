// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// A draft as the next boot has read it: everything that the boot needs when the draft is published.
struct PreparedBoot: Sendable {
    let range: Extent
    /// The tree's bytes as they were read. The times of the freeze in them are not known yet.
    let image: [UInt8]
    let freezeOffset: Int
    let inUse: [Extent]
    let journalRoom: Extent
    /// The state that the events make, beginning with an empty one.
    let state: BootState
    /// The events, as records for the journal.
    let journal: PreparedJournal
}

extension PreparedBoot {
    /// Reads and checks a draft.
    ///
    /// - Throws: EIO for a draft that cannot be read. The draft may have changed by now, and the open reads the tree
    ///   again.
    init(reading range: Extent, _ boot: Boot) throws(LiveUpdateError) {
        let arena = boot.arena
        try boot.untouched { () throws(ArenaError) in
            try arena.reload()
            guard range.offset <= arena.size, range.length <= arena.size - range.offset else {
                throw ArenaError(.tree, "a draft outside of the arena")
            }
        }
        let reader = LuoTreeReader(arena: arena, range: range)
        let tree = try boot.untouched { () throws(ArenaError) in try reader.read() }
        let events = try boot.withoutLost(tree).events + [.phase(.booting)]
        self = try boot.untouched { () throws(ArenaError) in
            let state = try BootState(events)
            try boot.check(state)
            return PreparedBoot(
                range: range, image: reader.image, freezeOffset: try reader.freezeOffset(),
                inUse: tree.rangesInUse, journalRoom: tree.journalRoom, state: state,
                journal: arena.prepare(events.map(\.record), in: tree.journalRoom))
        }
    }

    /// Takes over a tree that equals the prepared tree byte for byte, except for the times of the freeze. Further
    /// events, `events`, are committed with the tree.
    ///
    /// - Returns: false for another tree: then nothing was done.
    func takeOver(_ range: Extent, and events: [Event], _ boot: Boot) throws(LiveUpdateError) -> Bool {
        let arena = boot.arena
        guard range == self.range, arena.holds(image, at: range.offset, but: freezeOffset..<freezeOffset + 16) else {
            return false
        }
        try boot.untouched { () throws(ArenaError) in
            var state = state
            for event in events { try state.apply(event) }
            try arena.takeOver(journal, and: events.map(\.record), inUse: inUse, journalIn: journalRoom)
            boot.adopt(state)
            var times = ByteReader(
                try arena.read(at: range.offset + UInt64(freezeOffset), count: 16), "times of the freeze")
            boot.setFreeze(FreezeTime(start: try times.take(), end: try times.take()))
        }
        return true
    }
}
