import Handover
import Platform
import SystemPackage

/// What an update would publish, written ahead of it: so that in the blackout there is little left to do.
///
/// 1. ``Boot/draft(leavingOut:)``: the tree is written into free space, and handlers say how they can tell later that a
///    freeze changes nothing. Requests go on.
/// 2. The next boot prepares itself on it (``PreparedBoot``).
/// 3. ``Boot/publish(discardingUnfinished:leavingOut:)`` makes it true, when nothing that travels has changed since,
///    and no freeze has changed anything.
///
/// Unhappy: something has changed. Then it is free again, and everything is done as without.
struct Draft: Sendable {
    var tree: Boot.WrittenTree
    /// In the order in which they are frozen.
    var files: [FileToFreeze]
    /// The files that the draft leaves out, and the files that were lost already.
    var unfrozen: Unfrozen
    /// Of the state that it is of.
    var revision: UInt64
}

extension Boot {
    /// - Returns: where it is.
    /// - Throws: ENOSPC, when it would take of the room that is left for what must not fail.
    func draft(leavingOut: Bool) throws(LiveUpdateError) -> Extent {
        try request(.exclusive) { () throws(LiveUpdateError) in
            discardDraft()
            findLostFiles()
            var files = filesToFreeze()
            var unfrozen = Unfrozen()
            for index in files.indices {
                let one = files[index]
                let context = context(one.file, session: one.session.name)
                if context.descriptor == nil {
                    unfrozen.lose(one.file.id)
                } else if leavingOut, let error = handler(of: one.file).freezeObstacle(context) {
                    unfrozen.leaveOut(one.file.id, because: LeftOut(error))
                } else {
                    files[index].isUnchanged = handler(of: one.file).freezeCheck(context)
                }
            }
            let tree = try writeTree(
                FreezeTime(start: 0, end: 0), leavingOut: unfrozen.leftOut, isReserved: false)
            shared.with {
                $0.draft = Draft(tree: tree, files: files, unfrozen: unfrozen, revision: $0.state.revision)
            }
            return tree.range
        }
    }

    /// Looks for lost files again, ahead of the freeze.
    private func findLostFiles() {
        for one in filesToFreeze() where isLost(one.file) { _ = found(one.file, one.session) }
    }

    func obstacles() throws(LiveUpdateError) -> [FreezeObstacle] {
        try request(.shared) { () throws(LiveUpdateError) in filesToFreeze().compactMap(obstacle) }
    }

    private func obstacle(_ one: FileToFreeze) -> FreezeObstacle? {
        let context = context(one.file, session: one.session.name)
        guard context.descriptor != nil, let error = handler(of: one.file).freezeObstacle(context) else { return nil }
        return FreezeObstacle(
            user: one.session.holder.owner, session: one.session.name, token: one.file.token,
            compatible: one.file.compatible, errno: error.errno, reason: error.reason)
    }

    /// Gives a draft back that will not be published.
    func discardDraft() {
        if let draft = shared.with({ $0.draft }) { drop(draft) }
    }

    /// The draft, if the state has not changed since. A draft without some files serves only an update that may leave
    /// files out.
    func currentDraft(leavingOut: Bool) -> Draft? {
        shared.with { shared in
            guard let draft = shared.draft, draft.revision == shared.state.revision else { return nil }
            return leavingOut || draft.unfrozen.leftOut.isEmpty ? draft : nil
        }
    }

    /// Takes the draft for the update that publishes it. A draft that leaves out other files is dropped.
    func takeDraft(leavingOut: [FileID: LeftOut]) -> Draft? {
        guard let draft = shared.with({ $0.draft }) else { return nil }
        guard currentDraft(leavingOut: true) != nil, draft.unfrozen.leftOut == leavingOut else {
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
