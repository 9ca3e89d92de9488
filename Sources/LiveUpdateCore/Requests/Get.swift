// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// The requests about one file of an outgoing session, which goes on: get and unpreserve. The kernel has no such calls.
extension Boot {
    func get(token: UInt64, from handle: Session) throws(LiveUpdateError) -> OwnedDescriptor {
        try withFile(token, handle, for: "get") { (file, session) throws(LiveUpdateError) in
            try ensureRoom()
            return try duplicate(file, session)
        }
    }

    private func duplicate(_ lost: FileState, _ session: SessionState) throws(LiveUpdateError) -> OwnedDescriptor {
        let file = try refound(lost, session)
        guard descriptors.descriptor(in: file.slot) != nil else {
            throw self.lost(file, session, remedy: "unpreserve the file, and make it again")
        }
        return try descriptors.duplicate(file.slot)
    }

    func unpreserve(token: UInt64, from handle: Session, _ answer: Answer?) throws(LiveUpdateError) {
        try withFile(token, handle, for: "unpreserve") { (file, session) throws(LiveUpdateError) in
            try ensureRoom()
            try remove(file, session, answer)
        }
    }

    /// Runs a request about one file of an outgoing session.
    private func withFile<Value: ~Copyable>(
        _ token: UInt64, _ handle: Session, for action: String,
        _ body: (FileState, SessionState) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try request(.shared) { () throws(LiveUpdateError) in
            try handle.lock.withLock { () throws(LiveUpdateError) in
                let session = try session(handle, .outgoing, for: action)
                return try body(try file(token, of: session), session)
            }
        }
    }

    private func remove(
        _ file: FileState, _ session: SessionState, _ answer: Answer?
    ) throws(LiveUpdateError) {
        try flbs.enter(for: [file]) { () throws(LiveUpdateError) in
            flbs.waitForLoans(ofLastUsers: [file.flbs])
            handler(of: file).unpreserve(context(file, session: session.name))
            let gone = flbs.countDownOutgoing(file.flbs, self)
            try end(session.id, [.fileRemoved(file.id)] + answered(answer), [file], gone)
        }
    }
}
