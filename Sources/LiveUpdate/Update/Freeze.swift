import Handover
import Platform
import SystemPackage

/// The freeze of the outgoing files of a boot. It has no state of its own: the journal and the handlers know what was
/// done.
struct Freeze {
    private let boot: Boot

    init(_ boot: Boot) { self.boot = boot }

    /// All files that travel, in their order.
    private var files: [FileToFreeze] {
        let state = boot.read { $0 }
        return state.sessions(.outgoing).flatMap { session in
            state.files(of: session).map { FileToFreeze(file: $0, session: session) }
        }
    }

    // MARK: Ahead of the freeze

    /// Looks at all files for a draft, and looks for lost files again.
    ///
    /// - Returns: all files, in the order in which they are frozen; and those that need no freeze.
    func look(leavingOut: Bool) -> (files: [FileToFreeze], unfrozen: Unfrozen) {
        for one in files where boot.isLost(one.file) { _ = boot.found(one.file, one.session) }
        var files = files
        var unfrozen = Unfrozen()
        for index in files.indices {
            let one = files[index]
            let context = boot.context(one.file, session: one.session.name)
            if context.descriptor == nil {
                unfrozen.lose(one.file.id)
            } else if leavingOut, let error = boot.handler(of: one.file).freezeObstacle(context) {
                unfrozen.leaveOut(one.file.id, because: LeftOut(error))
            } else {
                files[index].isUnchanged = boot.handler(of: one.file).freezeCheck(context)
            }
        }
        return (files, unfrozen)
    }

    /// The files that cannot be frozen now.
    var obstacles: [FreezeObstacle] { files.compactMap(obstacle) }

    private func obstacle(_ one: FileToFreeze) -> FreezeObstacle? {
        let context = boot.context(one.file, session: one.session.name)
        guard context.descriptor != nil, let error = boot.handler(of: one.file).freezeObstacle(context) else {
            return nil
        }
        return FreezeObstacle(
            user: one.session.holder.owner, session: one.session.name, token: one.file.token,
            compatible: one.file.compatible, errno: error.errno, reason: error.reason)
    }

    // MARK: Freezing

    /// Freezes all files, or those for which a current draft cannot tell that a freeze changes nothing.
    ///
    /// - Returns: the files that were not frozen.
    /// - Throws: the error of the first freeze that fails, unless `leavingOut`. Everything is unfrozen then.
    func freezeAll(_ draft: Draft?, leavingOut: Bool) throws(LiveUpdateError) -> Unfrozen {
        let files = draft?.files ?? files
        var unfrozen = draft?.unfrozen ?? Unfrozen()
        for (index, one) in files.enumerated() where one.isUnchanged?() != true && !unfrozen.contains(one.file.id) {
            do throws(LiveUpdateError) {
                if try !freeze(one.file, one.session) { unfrozen.lose(one.file.id) }
            } catch {
                guard leavingOut else {
                    unfreeze(files[..<index], but: unfrozen)
                    throw error
                }
                unfrozen.leaveOut(one.file.id, because: LeftOut(error))
            }
        }
        return unfrozen
    }

    /// - Returns: false for a lost file, which is not frozen.
    private func freeze(_ known: FileState, _ session: SessionState) throws(LiveUpdateError) -> Bool {
        var file = known
        if boot.isLost(known) {
            file = boot.found(known, session)
            if boot.isLost(file) { return false }
        }
        let storage = Storage(boot.arena, owned: file.ranges, isReserved: true)
        do throws(LiveUpdateError) {
            let handler = boot.handler(of: file)
            let data = try handler.freeze(boot.context(file, session: session.name, storage: storage))
            let ranges = storage.sealed()
            if data == file.data && ranges == file.ranges { return true }
            do throws(LiveUpdateError) {
                try boot.commit([.fileStored(file.id, data: data, ranges: ranges)])
            } catch {
                handler.unfreeze(boot.context(file, session: session.name))
                throw error
            }
            boot.arena.free(storage.droppedRanges.map(\.range))
            return true
        } catch {
            storage.discard()
            throw error
        }
    }

    /// Unfreezes the newest session first, and the files of each session from first to last.
    private func unfreeze(_ frozen: ArraySlice<FileToFreeze>, but unfrozen: Unfrozen) {
        for one in frozen.sorted(by: { $0.session.id > $1.session.id }) where !unfrozen.contains(one.file.id) {
            let now = boot.read { $0.files[one.file.id] } ?? one.file
            boot.handler(of: now).unfreeze(boot.context(now, session: one.session.name))
        }
        // A journal without room for this leaves the phase as it is, and the next boot of it unfreezes once more, which
        // does no harm.
        try? boot.commit([.phase(.running)])
    }

    func unfreezeEverything(but unfrozen: Unfrozen) { unfreeze(files[...], but: unfrozen) }
}
