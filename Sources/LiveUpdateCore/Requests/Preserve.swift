// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The preserve of a file: the checks in the kernel's order, the FLBs, the handler, and then one commit of everything.
/// A failure undoes the steps before it in reverse order.
extension Boot {
    func preserve(
        _ descriptor: FileDescriptor, token: UInt64, in handle: Session, as compatible: String?, _ answer: Answer?,
        admittedAs admitted: FileIdentity?, isLimited: Bool, _ admit: () throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let session = try session(handle, .outgoing, for: "preserve")
                guard read({ $0.file(token, in: session.id) }) == nil else {
                    throw LiveUpdateError(
                        .fileExists, "token \(token) is in use in session \"\(session.name)\"",
                        remedy: "use another token, or unpreserve that one first")
                }
                let file = if let admitted { admitted } else { try descriptors.admit(descriptor) }
                let entry = try accepting(descriptor, as: compatible)
                let identity = entry.handler.identity(of: descriptor) ?? file
                let hold = entry.handler.holdsFile ? FileHold(session.holder.user, identity) : nil
                if let hold { try holdInFlight(hold) }
                defer { if let hold { endReservation(hold) } }
                if isLimited { try checkFiles(of: session.holder.user) }
                try admit()
                try preserve(
                    descriptor, file, identity, token: token, session, entry, answer, isLimited: isLimited)
            }
        }
    }

    /// - Throws: EDQUOT.
    private func checkFiles(of user: SessionUser) throws(LiveUpdateError) {
        guard let most = limits(of: user)?.files, read({ $0.usage[user]?.files ?? 0 }) >= most else { return }
        throw LiveUpdateError(
            .diskQuotaExceeded, "user \(user) has \(most) files, which is the limit",
            remedy: "finish or unpreserve some of them, or raise the limit")
    }

    /// The first handler, in registration order, that takes the file. With a compatible string, only its handler is
    /// asked. Without a string, all handlers are asked that are not ``FileHandler/isOnlyOnRequest``.
    private func accepting(
        _ descriptor: FileDescriptor, as compatible: String?
    ) throws(LiveUpdateError) -> Registry.Entry {
        var refusals: [String] = []
        for entry in registry.entries
        where compatible.map({ $0 == entry.handler.compatible }) ?? !entry.handler.isOnlyOnRequest {
            switch entry.handler.canPreserve(descriptor) {
            case .accepted: return entry
            case .refused(let reason): refusals.append("\(entry.handler.compatible): \(reason)")
            }
        }
        let reasons = refusals.isEmpty ? "no handler is registered" : refusals.joined(separator: "; ")
        throw LiveUpdateError(
            .noSuchFileOrDirectory, "no handler takes this file: \(reasons)",
            remedy: "preserve memory files, or register a handler for this kind")
    }

    /// - Throws: EBUSY.
    private func holdInFlight(_ hold: FileHold) throws(LiveUpdateError) {
        guard reserve(hold) else {
            throw LiveUpdateError(
                .resourceBusy, "the file (\(hold.identity)) is held already\(place(of: hold))",
                remedy: "close the session that preserves it, or finish the one that it came with")
        }
    }

    /// The session and the token of a held file, in words; empty while a preserve of the file is under way. The session
    /// belongs to the user of the request.
    private func place(of hold: FileHold) -> String {
        read { state in
            let file = state.files.values.first { file in
                file.holdsFile && file.identity == hold.identity
                    && state.sessions[file.session]?.holder.user == hold.user
            }
            guard let file, let session = state.sessions[file.session] else { return "" }
            return ": token \(file.token) of session \"\(session.name)\""
        }
    }

    private func preserve(
        _ descriptor: FileDescriptor, _ file: FileIdentity, _ identity: FileIdentity, token: UInt64,
        _ session: SessionState, _ entry: Registry.Entry, _ answer: Answer?, isLimited: Bool
    ) throws(LiveUpdateError) {
        let slot = try descriptors.keep(descriptor, of: file, for: session.holder.user)
        ensureHeadroom()
        let storage = Storage(arena)
        var counted: [FLBState] = []
        do throws(LiveUpdateError) {
            counted = try flbs.countUp(entry.flbs, self)
            var file = FileState(
                id: FileID(value: takeID()), session: session.id, token: token,
                compatible: entry.handler.compatible, slot: slot, identity: identity, data: 0, ranges: [],
                flbs: counted.map(\.id), retrieved: .notTried, holdsFile: entry.handler.holdsFile)
            file.data = try entry.handler.preserve(context(file, session: session.name, storage: storage))
            file.ranges = storage.sealed()
            do throws(LiveUpdateError) {
                try commitPreserved(file, counted, of: session.holder.user, answer, isLimited: isLimited)
            } catch {
                entry.handler.unpreserve(context(file, session: session.name))
                throw error
            }
        } catch {
            flbs.countDownAfterFailure(counted.map(\.id), self)
            storage.discard()
            descriptors.release(slot)
            throw error
        }
    }

    /// Commits a preserved file. The first committed file of an FLB also brings the record of the FLB.
    private func commitPreserved(
        _ file: FileState, _ counted: [FLBState], of user: SessionUser, _ answer: Answer?, isLimited: Bool
    ) throws(LiveUpdateError) {
        let most = isLimited ? limits(of: user)?.arenaBytes : nil
        try commit(acquiring: true) { (state) throws(LiveUpdateError) in
            if let most { try Self.checkArena(of: user, file.ranges, state, most) }
            let new = counted.filter { state.flbs[$0.id] == nil }
            return new.map(Event.flbAdded) + [.fileAdded(file)] + answered(answer)
        }
    }

    /// Checks that a user may have further ranges of the arena.
    ///
    /// - Throws: ENOSPC.
    static func checkArena(
        of user: SessionUser, _ ranges: [StoredRange], _ state: BootState, _ most: UInt64
    ) throws(LiveUpdateError) {
        let bytes = ranges.reduce(state.usage[user]?.arenaBytes ?? 0) { $0 + $1.range.length }
        guard bytes > most else { return }
        throw LiveUpdateError(
            .noSpace, "the files of user \(user) would take \(bytes) bytes of the arena, and may take \(most)",
            remedy: "finish or unpreserve some of them, or raise the limit")
    }
}
