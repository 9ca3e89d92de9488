import Handover
import Platform
import SystemPackage

/// What an update would publish, written ahead of it: so that in the blackout there is little left to do.
///
/// 1. ``Boot/draft()``: the tree is written into free space, and handlers say how they can tell later that a freeze
///    changes nothing. Requests go on.
/// 2. The next boot prepares itself on it (``PreparedBoot``).
/// 3. ``Boot/publish(discardingUnfinished:)`` makes it true, when nothing that travels has changed since, and no freeze
///    has changed anything.
///
/// Unhappy: something has changed. Then it is free again, and everything is done as without.
struct Draft: Sendable {
    var tree: Boot.WrittenTree
    /// In the order in which they are frozen.
    var files: [Boot.Freezing]
    /// Of the state that it is of.
    var revision: UInt64
}

extension Boot {
    /// - Returns: where it is.
    /// - Throws: ENOSPC, when it would take of the room that is left for what must not fail.
    func draft() throws(LiveUpdateError) -> Extent {
        try request(.exclusive) { () throws(LiveUpdateError) in
            discardDraft()
            var files = filesToFreeze()
            for index in files.indices {
                let one = files[index]
                files[index].isUnchanged =
                    handler(of: one.file).freezeCheck(context(one.file, session: one.session.name))
            }
            let tree = try writeTree(FreezeTime(start: 0, end: 0), isReserved: false)
            shared.with { $0.draft = Draft(tree: tree, files: files, revision: $0.state.revision) }
            return tree.range
        }
    }

    /// Gives a draft back that will not be published.
    func discardDraft() {
        if let draft = shared.with({ $0.draft }) { drop(draft) }
    }

    /// The draft, if it still is what would be published.
    func currentDraft() -> Draft? {
        shared.with { shared in
            shared.draft.flatMap { $0.revision == shared.state.revision ? $0 : nil }
        }
    }

    /// The same, for who publishes it; one of another state is given back.
    func takeDraft() -> Draft? {
        guard let draft = shared.with({ $0.draft }) else { return nil }
        guard currentDraft() != nil else {
            drop(draft)
            return nil
        }
        shared.with { $0.draft = nil }
        return draft
    }

    private func drop(_ draft: Draft) {
        shared.with { $0.draft = nil }
        arena.free(draft.tree.temporary + [draft.tree.range])
    }
}
