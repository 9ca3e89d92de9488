// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The attestation of a preserved file: checksums of its content, which a client has computed. The sums are one of the
/// file's ranges in the arena, so that they travel with the file and are freed with it. Nothing here reads the file.
extension Boot {
    func attest(
        _ handle: Session, token: UInt64, _ sums: FileSums, _ answer: Answer?, isLimited: Bool
    ) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let session = try session(handle, .outgoing, for: "attest")
                let file = try file(token, in: session)
                ensureHeadroom()
                let storage = Storage(arena)
                do throws(LiveUpdateError) {
                    let offset = try storage.store(sums.bytes)
                    try commitAttested(file, offset, storage, answer, isLimited: isLimited)
                } catch {
                    storage.discard()
                    throw error
                }
                arena.free(file.attestedRanges.map(\.range))
            }
        }
    }

    private func commitAttested(
        _ file: FileState, _ offset: UInt64, _ storage: Storage, _ answer: Answer?, isLimited: Bool
    ) throws(LiveUpdateError) {
        let user = holder(of: file.session).user
        let most = isLimited ? limits(of: user)?.arenaBytes : nil
        let new = storage.sealed()
        let old = file.attestedRanges
        let ranges = file.ranges.filter { !old.contains($0) } + new
        try commit(acquiring: true) { (state) throws(LiveUpdateError) in
            if let most { try Self.checkArena(of: user, new, state, most) }
            return [.fileAttested(file.id, offset, ranges: ranges)] + answered(answer)
        }
    }

    /// Reads the checksums of a file of either direction from the arena.
    ///
    /// - Throws: ENOENT for an unknown token, ENODATA for a file without sums, EIO for damaged sums.
    func attestation(_ handle: Session, token: UInt64) throws(LiveUpdateError) -> FileSums {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let session = try session(handle, nil, for: "attestation")
                let file = try file(token, in: session)
                guard let stored = file.attestedRanges.first else {
                    throw LiveUpdateError(
                        FileSums.none, "token \(token) of session \"\(session.name)\" has no checksums",
                        remedy: "preserve the file with its checksums (luoctl preserve --attest)")
                }
                do throws(ArenaError) {
                    return try FileSums(try arena.read(at: stored.range.offset, count: stored.range.length))
                } catch {
                    throw LiveUpdateError(error)
                }
            }
        }
    }

    private func file(_ token: UInt64, in session: SessionState) throws(LiveUpdateError) -> FileState {
        guard let file = read({ $0.file(token, in: session.id) }) else {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "session \"\(session.name)\" has no file with the token \(token)",
                remedy: "the status lists the tokens of the session")
        }
        return file
    }
}

extension FileSums {
    /// The errno for a file without sums: ENODATA.
    package static let none = Errno(rawValue: 61)
}

extension FileState {
    /// The range of the sums; empty for a file without them.
    var attestedRanges: [StoredRange] {
        attestation == 0 ? [] : ranges.filter { $0.range.offset == attestation }
    }

    /// Checks that the sums are in one of the file's ranges.
    ///
    /// - Throws: `record`.
    func checkAttestation() throws(ArenaError) {
        guard attestation == 0 || attestedRanges.count == 1 else {
            throw ArenaError(
                .record, "the sums of file \(id.value) are at offset \(attestation), and not in its ranges")
        }
    }
}
