// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The extent of an update: the image only, or the kernel, too. It decides which files can be frozen.
package enum Replacement: Sendable {
    /// Only the image. The processes of both boots hold all descriptors.
    case image
    /// The kernel, and with it all processes. If `carryingMemory` is true, the kernel's Live Update Orchestrator
    /// takes the files that it can carry to the next kernel.
    case kernel(carryingMemory: Bool)

    fileprivate func keeps(_ handler: any FileHandler) -> Bool {
        switch self {
        case .image: true
        case .kernel(let carriesMemory): handler.kernelFate.survives(carryingMemory: carriesMemory)
        }
    }

    /// Whether the kernel stays.
    var keepsKernel: Bool {
        if case .image = self { true } else { false }
    }
}

/// The freeze of the outgoing files of a boot. It has no state of its own: the journal has
/// the phase and the stored records.
struct Freeze {
    private let boot: Boot
    private let replaced: Replacement

    init(_ boot: Boot, replacing replaced: Replacement = .image) {
        self.boot = boot
        self.replaced = replaced
    }

    /// All files that travel, in their order.
    private var files: [FileToFreeze] {
        let state = boot.read { $0 }
        return state.sessions(.outgoing).flatMap { session in
            state.files(of: session).map { FileToFreeze(file: $0, session: session) }
        }
    }

    // MARK: Ahead of the freeze

    /// Looks at all files for a draft, and looks for lost files again. `looks` has earlier looks for the same update.
    ///
    /// - Returns: all files, in the order in which they are frozen, and the files that need no freeze.
    func look(leavingOut: Bool, _ looks: FreezeLooks?) -> (files: [FileToFreeze], unfrozen: Unfrozen) {
        var files = files
        var unfrozen = Unfrozen()
        for index in files.indices {
            if boot.isLost(files[index].file) {
                files[index].file = boot.found(files[index].file, files[index].session)
            }
            let one = files[index]
            if boot.isLost(one.file) {
                unfrozen.lose(one.file.id)
                continue
            }
            let look = looks?[one.file] ?? look(at: one.file, one.session)
            if leavingOut, let obstacle = look.obstacle {
                unfrozen.leaveOut(one.file.id, because: LeftOut(obstacle))
            } else {
                files[index].isUnchanged = look.isUnchanged
            }
        }
        return (files, unfrozen)
    }

    /// Looks at a file that is not lost.
    func look(at file: FileState, _ session: SessionState) -> FreezeLooks.Look {
        let context = boot.context(file, session: session.name)
        return FreezeLooks.Look(
            isUnchanged: boot.handler(of: file).freezeCheck(context), obstacle: obstacle(context, file, session))
    }

    /// The files that cannot be frozen. `looks` has earlier looks for the same update.
    func obstacles(_ looks: FreezeLooks?) -> [FreezeObstacle] {
        files.compactMap { one in
            if let look = looks?[one.file] { return look.obstacle }
            let context = boot.context(one.file, session: one.session.name)
            return context.descriptor == nil ? nil : obstacle(context, one.file, one.session)
        }
    }

    private func obstacle(_ context: FileContext, _ file: FileState, _ session: SessionState) -> FreezeObstacle? {
        let handler = boot.handler(of: file)
        return (kernelObstacle(handler) ?? handler.freezeObstacle(context)).map { error in
            FreezeObstacle(
                user: session.holder.user, session: session.name, token: file.token, compatible: file.compatible,
                errno: error.errno, reason: error.reason(ofToken: file.token))
        }
    }

    /// The error for a file that ends with the kernel; nil when the file survives, or when the kernel stays.
    private func kernelObstacle(_ handler: any FileHandler) -> LiveUpdateError? {
        guard !replaced.keeps(handler) else { return nil }
        return LiveUpdateError(
            .notSupported, "a file of the kind \(handler.compatible) ends with the kernel",
            remedy: "put the memory on DAX (luoctl dax plan), or leave the file behind (luoctl kexec --leave-behind)")
    }

    // MARK: Freezing

    /// Freezes all files except those that a current draft or an earlier look shows to be unchanged.
    ///
    /// - Returns: the files that were not frozen.
    /// - Throws: the error of the first freeze that fails, unless `leavingOut`. Everything is unfrozen then.
    func freezeAll(
        _ draft: Draft?, _ looks: FreezeLooks?, leavingOut: Bool
    ) throws(LiveUpdateError) -> Unfrozen {
        let files = draft?.files ?? files(with: looks)
        var unfrozen = draft?.unfrozen ?? Unfrozen()
        for (index, one) in files.enumerated() where one.isUnchanged?() != true && !unfrozen.contains(one.file.id) {
            do throws(LiveUpdateError) {
                if try !freeze(one.file, one.session) { unfrozen.lose(one.file.id) }
            } catch {
                guard leavingOut else {
                    unfreeze(files[..<index], but: unfrozen)
                    throw error
                }
                unfrozen.leaveOut(one.file.id, because: LeftOut(error, ofToken: one.file.token))
            }
        }
        return unfrozen
    }

    private func files(with looks: FreezeLooks?) -> [FileToFreeze] {
        var files = files
        guard let looks else { return files }
        for index in files.indices { files[index].isUnchanged = looks[files[index].file]?.isUnchanged }
        return files
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
            if let obstacle = kernelObstacle(handler) { throw obstacle }
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
        // If the journal has no room for this event, the phase stays as it is, and the next process with this journal
        // unfreezes the files again, which does no harm.
        try? boot.commit([.phase(.running)])
    }

    func unfreezeEverything(but unfrozen: Unfrozen) { unfreeze(files[...], but: unfrozen) }
}
