// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The requests that retrieve files and finish them.
extension Boot {
    func retrieve(token: UInt64, from handle: Session) throws(LiveUpdateError) -> OwnedDescriptor {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let session = try session(handle, .incoming, for: "retrieve")
                let file = try file(token, of: session)
                switch file.retrieved {
                case .done: return try descriptors.duplicate(file.slot)
                case .failed(let errno): throw failure(errno, of: file, session)
                case .notTried: return try descriptors.duplicate(try retrieveNow(file, session))
                }
            }
        }
    }

    private func failure(_ errno: CInt, of file: FileState, _ session: SessionState) -> LiveUpdateError {
        guard let reason = file.leftOut else { return remembered(Errno(rawValue: errno), "file \(file.token)") }
        return LiveUpdateError(
            Errno(rawValue: errno),
            "file \(file.token) of session \"\(session.name)\" was left out of the update: \(reason)",
            remedy: isLost(file)
                ? "finish the session: the file ended with the kernel, or with the last process that held it"
                : "retrieve it as a held descriptor (luoctl retrieve --as-held), or finish the session")
    }

    func retrieveAsHeld(token: UInt64, from handle: Session) throws(LiveUpdateError) -> OwnedDescriptor {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let session = try session(handle, .incoming, for: "retrieve")
                let file = try file(token, of: session)
                guard descriptors.descriptor(in: file.slot) != nil else {
                    throw lost(file, session, remedy: "finish the session")
                }
                return try descriptors.duplicate(file.slot)
            }
        }
    }

    func lost(_ file: FileState, _ session: SessionState, remedy: String) -> LiveUpdateError {
        LiveUpdateError(
            .badFileDescriptor,
            "file \(file.token) of session \"\(session.name)\" was lost with the last process that held it",
            remedy: remedy)
    }

    /// - Throws: ENOENT.
    func file(_ token: UInt64, of session: SessionState) throws(LiveUpdateError) -> FileState {
        guard let file = read({ $0.file(token, in: session.id) }) else {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "session \"\(session.name)\" has no file with the token \(token)",
                remedy: "the session lists its tokens")
        }
        return file
    }

    func remembered(_ errno: Errno, _ what: String) -> LiveUpdateError {
        LiveUpdateError(errno, "\(what) could not be retrieved before, and is not tried again")
    }

    /// - Returns: the slot that holds the file now.
    private func retrieveNow(_ known: FileState, _ session: SessionState) throws(LiveUpdateError) -> DescriptorSlot {
        try ensureRoom()
        try checkRecords(known.ranges, of: "file \(known.token)")
        let file = try refound(known, session)
        let slot: DescriptorSlot
        do throws(LiveUpdateError) {
            switch try handler(of: file).retrieve(context(file, session: session.name)) {
            case .kept where isLost(file): throw lost(file, session, remedy: "make the file again")
            case .kept: slot = file.slot
            case .opened(let descriptor):
                slot = try keep(OwnedDescriptor(taking: descriptor), for: session.holder.user)
            }
        } catch {
            try commit([.fileRetrieved(file.id, .failed(error.errno), file.slot)])
            throw error
        }
        try commit([.fileRetrieved(file.id, .done, slot)])
        if slot != file.slot { descriptors.release(file.slot) }
        return slot
    }

    /// The file with its descriptor. If the descriptor was lost with its last holder, the handler opens the file again,
    /// if it can. A failure is not remembered, because the missing file can be put back.
    ///
    /// - Throws: the error of the handler's reopen, EIO for damaged records, EMFILE, ENOSPC.
    func refound(_ file: FileState, _ session: SessionState) throws(LiveUpdateError) -> FileState {
        guard descriptors.descriptor(in: file.slot) == nil else { return file }
        try checkRecords(file.ranges, of: "file \(file.token)")
        guard let descriptor = try handler(of: file).reopen(context(file, session: session.name)) else { return file }
        var found = file
        found.slot = try keep(OwnedDescriptor(taking: descriptor), for: session.holder.user)
        do throws(LiveUpdateError) {
            try commit([.fileRetrieved(file.id, file.retrieved, found.slot)])
        } catch {
            descriptors.release(found.slot)
            throw error
        }
        return found
    }

    /// Looks for a lost file again. A failure is no error here: the file is returned as it is, lost.
    func found(_ file: FileState, _ session: SessionState) -> FileState {
        (try? refound(file, session)) ?? file
    }

    func isLost(_ file: FileState) -> Bool { descriptors.descriptor(in: file.slot) == nil }

    private func keep(
        _ descriptor: consuming OwnedDescriptor, for user: SessionUser
    ) throws(LiveUpdateError) -> DescriptorSlot {
        try descriptors.keep(descriptor.borrowed, for: user)
    }

    func checkRecords(_ ranges: [StoredRange], of what: @autoclosure () -> String) throws(LiveUpdateError) {
        for stored in ranges where arena.checksum(of: stored.range) != stored.checksum {
            throw LiveUpdateError(
                .ioError, "the records of \(what()) at offset \(stored.range.offset) are damaged",
                remedy: "the file is not given back on them; luoctl inspect shows what is left of the arena")
        }
    }

    func finish(_ handle: Session) throws(LiveUpdateError) {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let state = try session(handle, .incoming, for: "finish")
                guard state.progress != .finished else { return }
                try ensureRoom()
                try finish(state, [.sessionProgress(state.id, .finished)])
            }
        }
    }

    /// Finishes all files, last to first, and commits. Before that, all handlers are asked, first to last, whether they
    /// can.
    ///
    /// - Throws: EBUSY when a handler cannot finish a file yet. Nothing has changed then.
    func finish(_ session: SessionState, _ events: [Event]) throws(LiveUpdateError) {
        for file in read({ $0.files(of: session) }) where !canFinish(file, session) {
            throw LiveUpdateError(.resourceBusy, refusal(file, session), remedy: "finish again later")
        }
        try finishFiles(of: session, events)
    }

    private func canFinish(_ file: FileState, _ session: SessionState) -> Bool {
        handler(of: file).canFinish(context(file, session: session.name))
    }

    private func refusal(_ file: FileState, _ session: SessionState) -> String {
        "handler \"\(file.compatible)\" cannot finish file \(file.token) of session \"\(session.name)\" yet"
    }

    /// Makes a line for each file that its handler cannot finish yet.
    func refusalsToFinish(_ session: SessionState) -> [String] {
        read { $0.files(of: session) }.filter { !canFinish($0, session) }.map { refusal($0, session) }
    }

    /// Finishes all files, last to first, without asking their handlers whether they can, and commits.
    func finishFiles(of session: SessionState, _ events: [Event]) throws(LiveUpdateError) {
        let files = read { $0.files(of: session) }
        try flbs.enter(for: files) { () throws(LiveUpdateError) in
            flbs.waitForLoans(ofLastUsers: files.map(\.flbs))
            var gone: [Extent] = []
            for file in files.reversed() {
                handler(of: file).finish(context(file, session: session.name))
                gone += flbs.countDownIncoming(file.flbs, self)
            }
            try end(session.id, events, files, gone)
        }
    }
}
