// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The end of a boot, and the tree that it leaves for the next boot.
///
/// 1. Ahead of the update, handlers look at the files, and return a check that later tells whether a freeze changes
///    nothing. Then a draft of the tree is written into free space. Requests go on, and a change makes the draft
///    worthless.
/// 2. The files are frozen: sessions in creation order, and the files of a session in the order of their preserves. The
///    journal has the phase of the freeze before the first file is frozen. With a current draft, only files that
///    have changed since are frozen.
/// 3. The FLBs name their data for the next boot, and the tree is written into free space. With a current draft, this
///    is done already.
/// 4. The tree is published with one store. From here on this boot answers ENODEV.
///
/// A file without a descriptor is lost: it is not frozen, and travels as lost. If the update may leave files out, a
/// file that cannot be frozen is left out, and the freeze goes on with the next file. So no file is frozen twice.
///
/// Unhappy: a failure before 4 unfreezes the frozen files, and everything is as before. After 4, until the next boot
/// has begun, ``thaw(_:)`` resumes the boot.
final class UpdatePlan: Sendable {
    private let state = Guarded(State())

    private struct State: Sendable {
        /// The looks for the next update; nil between updates.
        var looks: FreezeLooks?
        var draft: Draft?
        /// The old boot's draft, as this boot has read it before its open.
        var prepared: PreparedBoot?
        var published = Published()
    }

    /// The data with which a boot that has published can thaw.
    private struct Published: Sendable {
        /// The ranges that were allocated beside the tree, for the next boot.
        var temporary: [Extent] = []
        /// The files that were not frozen.
        var unfrozen = Unfrozen()
    }

    // MARK: Looking ahead

    /// Begins to look at the files for an update. ``look(of:goingOn:)`` looks at them.
    func beginLooks(of boot: Boot) {
        let files = boot.read { $0.sessions(.outgoing).flatMap(\.files) }
        state.with { $0.looks = FreezeLooks(at: files) }
    }

    /// Looks at some of the files that existed at ``beginLooks(of:)``. Lost files are left to the draft. `goesOn` is
    /// asked after each file.
    ///
    /// - Returns: whether all of them were looked at.
    func look(of boot: Boot, goingOn goesOn: () -> Bool) throws(LiveUpdateError) -> Bool {
        try boot.request(.exclusive) { () throws(LiveUpdateError) in
            guard var looks = state.with({ $0.looks.take() }) else { return true }
            defer { state.with { $0.looks = looks } }
            while let id = looks.next() {
                guard let file = boot.read({ $0.files[id] }), !boot.isLost(file),
                    let session = boot.read({ $0.sessions[file.session] })
                else { continue }
                looks.note(Freeze(boot).look(at: file, session), at: file)
                guard goesOn() else { return looks.isDone }
            }
            return true
        }
    }

    /// Finds all files that cannot be frozen: now, or at the time of the look if there was one.
    func obstacles(of boot: Boot, replacing replaced: Replacement) throws(LiveUpdateError) -> [FreezeObstacle] {
        // No file may go while it is looked at.
        try boot.request(.exclusive) { () throws(LiveUpdateError) in
            Freeze(boot, replacing: replaced).obstacles(replaced.keepsKernel ? state.with { $0.looks } : nil)
        }
    }

    // MARK: A draft

    /// Writes a draft. It replaces the draft before it.
    ///
    /// - Returns: the range of the draft.
    /// - Throws: ENOSPC when the draft would need room that is reserved for publishing; the errors of an FLB.
    func draft(leavingOut: Bool, of boot: Boot) throws(LiveUpdateError) -> Extent {
        try boot.request(.exclusive) { () throws(LiveUpdateError) in
            freeDraft(of: boot)
            let (files, unfrozen) = Freeze(boot).look(leavingOut: leavingOut, state.with { $0.looks })
            let tree = try WrittenTree(
                of: boot, FreezeTime(start: 0, end: 0), leavingOut: unfrozen.leftOut, isReserved: false)
            let draft = Draft(tree: tree, files: files, unfrozen: unfrozen, revision: boot.read { $0.revision })
            state.with { $0.draft = draft }
            return tree.range
        }
    }

    /// Frees a draft and forgets the looks, because there will be no update.
    func discardDraft(of boot: Boot) {
        state.with { $0.looks = nil }
        freeDraft(of: boot)
    }

    private func freeDraft(of boot: Boot) {
        let draft = state.with { $0.draft.take() }
        if let draft { boot.arena.free(draft.tree.temporary + [draft.tree.range]) }
    }

    /// The draft, if the state has not changed since. A draft without some files serves only an update that may leave
    /// files out.
    func currentDraft(leavingOut: Bool, of boot: Boot) -> Draft? {
        guard let draft = state.with({ $0.draft }), draft.revision == boot.read({ $0.revision }) else { return nil }
        return leavingOut || draft.unfrozen.leftOut.isEmpty ? draft : nil
    }

    /// Takes the draft for the update that publishes it. A draft that leaves out other files is dropped.
    private func takeDraft(leavingOut: [FileID: LeftOut], of boot: Boot) -> Draft? {
        guard let draft = currentDraft(leavingOut: true, of: boot), draft.unfrozen.leftOut == leavingOut else {
            freeDraft(of: boot)
            return nil
        }
        state.with { $0.draft = nil }
        return draft
    }

    // MARK: The next boot's preparation

    /// Reads and checks a draft, as ``Boot/open(answering:)`` does after the publication. Nothing of the old boot
    /// is touched.
    ///
    /// - Throws: EINVAL for a boot that is open or not on trial; EIO for a draft that cannot be read.
    func prepare(on range: Extent, _ boot: Boot) throws(LiveUpdateError) {
        try boot.requestLock.enter(.exclusive) { () throws(LiveUpdateError) in
            guard case .unopened = boot.stage, boot.opening == .onTrial else {
                throw LiveUpdateError(.invalidArgument, "only a boot on trial prepares itself, and before it opens")
            }
            let prepared = try PreparedBoot(reading: range, boot)
            state.with { $0.prepared = prepared }
        }
    }

    /// Takes the prepared boot; nil without one.
    func takePrepared() -> PreparedBoot? { state.with { $0.prepared.take() } }

    // MARK: The update

    /// - Returns: the slots of the descriptors that travel.
    /// - Throws: ENODEV when the boot has ended, EBUSY when sessions are unfinished, the error of the first freeze that
    ///   fails, the errors of an FLB, ENOSPC. Nothing has changed then.
    func publish(
        discardingUnfinished discard: Bool, leavingOut: Bool, replacing replaced: Replacement, _ boot: Boot
    ) throws(LiveUpdateError) -> [DescriptorSlot] {
        try boot.request(.exclusive) { () throws(LiveUpdateError) in
            let start = monotonicNanoseconds()
            if !discard { try checkUnfinished(boot) }
            try boot.ensureRoom()
            try boot.commit([.phase(.freezing)])
            let freeze = Freeze(boot, replacing: replaced)
            // They stay for now: releasing thousands of them takes time.
            let looks = state.with { $0.looks }
            // A draft and the looks are for an update in which the kernel stays: files that end with it are in them.
            let draft = replaced.keepsKernel ? currentDraft(leavingOut: leavingOut, of: boot) : nil
            let unfrozen = try freeze.freezeAll(
                draft, replaced.keepsKernel ? looks : nil, leavingOut: leavingOut)
            do throws(LiveUpdateError) {
                let time = FreezeTime(start: start, end: monotonicNanoseconds())
                return end(boot, travelling: try publishTree(time, unfrozen, boot))
            } catch {
                freeze.unfreezeEverything(but: unfrozen)
                throw error
            }
        }
    }

    /// The files that the publication has left out, in the order of their preserves.
    func leftOut(of boot: Boot) -> [FreezeObstacle] {
        let leftOut = state.with { $0.published.unfrozen.leftOut }
        return boot.read { state in
            leftOut.sorted { $0.key < $1.key }.compactMap { id, why in
                guard let file = state.files[id], let session = state.sessions[file.session] else { return nil }
                return FreezeObstacle(
                    user: session.holder.user, session: session.name, token: file.token, compatible: file.compatible,
                    errno: Errno(rawValue: why.errno), reason: why.reason)
            }
        }
    }

    /// - Throws: EBUSY when incoming sessions are unfinished.
    func checkUnfinished(_ boot: Boot) throws(LiveUpdateError) {
        let unfinished = boot.read { $0.sessions(.incoming).filter { $0.progress != .finished } }
        guard unfinished.isEmpty else {
            let list = unfinished.map { session in
                let user = session.holder.user
                return "\"\(session.name)\"" + (user == 0 ? "" : " of user \(user)")
            }.joined(separator: ", ")
            throw LiveUpdateError(
                .resourceBusy, "the update would lose the unfinished sessions \(list)",
                remedy: "finish them, or say that they are to be discarded")
        }
    }

    /// - Returns: the slots of the descriptors that travel.
    private func publishTree(
        _ freeze: FreezeTime, _ unfrozen: Unfrozen, _ boot: Boot
    ) throws(LiveUpdateError) -> [DescriptorSlot] {
        let written: WrittenTree
        // A draft that is still current lacks only the times of the freeze.
        if let draft = takeDraft(leavingOut: unfrozen.leftOut, of: boot) {
            written = draft.tree
            boot.arena.write(SlotHeader.bytes(of: freeze), at: written.freezeOffset)
        } else {
            written = try WrittenTree(of: boot, freeze, leavingOut: unfrozen.leftOut, isReserved: true)
        }
        boot.arena.publish(written.range)
        state.with { $0.published = Published(temporary: written.temporary, unfrozen: unfrozen) }
        return written.slots
    }

    /// Ends the boot, which writes nothing from now on. Getters do not take the request lock, so this waits for
    /// getters that run a callback.
    private func end(_ boot: Boot, travelling slots: [DescriptorSlot]) -> [DescriptorSlot] {
        boot.flbs.whenIdle { boot.setStage(.published) }
        return slots
    }

    /// Withdraws a published tree, and resumes the boot, because the next boot could not be started.
    ///
    /// - Throws: EINVAL when nothing was published.
    func thaw(_ boot: Boot) throws(LiveUpdateError) {
        try boot.requestLock.enter(.exclusive) { () throws(LiveUpdateError) in
            guard case .published = boot.stage else {
                throw LiveUpdateError(
                    .invalidArgument, "nothing was published, so there is nothing to take back",
                    remedy: "thaw after publish, and once")
            }
            boot.arena.withdraw()
            let published = state.with { state in
                defer { state.published = Published() }
                return state.published
            }
            boot.arena.free(published.temporary)
            boot.setStage(.open)
            Freeze(boot).unfreezeEverything(but: published.unfrozen)
        }
    }
}
