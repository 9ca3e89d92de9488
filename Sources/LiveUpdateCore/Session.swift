// SPDX-License-Identifier: Apache-2.0
public import LiveUpdatePlatform
public import SystemPackage

/// An open session: a named set of files. The kernel's session file descriptor.
///
/// The session holds a copy of the descriptor of each file. It closes its copies when it ends: an outgoing session when
/// it is closed, or when the file is unpreserved; an incoming session when it is finished. A descriptor that
/// ``get(token:)`` or ``retrieve(token:)`` returns is another copy, and the caller's own.
///
/// The session lives until ``close()``, or until the boot ends. Dropping the last reference to this object closes
/// nothing, so that no memory is released by accident. ``Orchestrator/openSessions`` returns all open sessions.
public final class Session: Sendable {
    /// The name with which the session was created or handed over.
    public let name: SessionName
    /// Outgoing if this boot created the session, incoming if it was handed over to this boot.
    public let direction: Direction
    /// The number of the session. No other session of this boot has it.
    package var number: UInt64 { id.value }

    let id: SessionID
    /// Shared by all handles of one open session, and by no other.
    let lock: Lock
    private let boot: Boot

    init(_ state: SessionState, _ lock: Lock, _ boot: Boot) {
        name = state.name
        direction = state.direction
        id = state.id
        self.lock = lock
        self.boot = boot
    }

    /// Preserves a file, which stays in use. The session holds a copy of the descriptor, and the descriptor stays the
    /// caller's.
    ///
    /// - Parameters:
    ///   - descriptor: a descriptor of the file. It stays open.
    ///   - token: names the file inside the session: any 64-bit number.
    ///   - compatible: names the handler; nil for the first handler that takes the file.
    /// - Throws: in this order: ENODEV when the boot has ended, EINVAL on an incoming session, EEXIST when the token is
    ///   in use, EBADF, ENOENT when no handler takes the file (the message says why), EBUSY when the file is held
    ///   already, the errors of its FLBs and of its handler (ENODEV when an FLB's owner is going away), ENOSPC at the
    ///   arena's limit. A failed preserve leaves nothing behind.
    public func preserve(
        _ descriptor: FileDescriptor, token: UInt64, as compatible: String? = nil
    ) throws(LiveUpdateError) {
        try preserve(descriptor, token: token, as: compatible, answering: nil)
    }

    /// Preserves a file for a client that has limits of its own.
    ///
    /// - Parameters:
    ///   - descriptor: a descriptor of the file. It stays open.
    ///   - token: names the file inside the session.
    ///   - compatible: names the handler; nil for the first handler that takes the file.
    ///   - answer: is committed with the file: see ``Answer``.
    ///   - file: the identity of the file, if the caller has looked at the file and has seen that the descriptor is
    ///     more than a path (O_PATH). If nil, the ``DescriptorStore`` looks.
    ///   - isLimited: whether the limits of the session's user apply: they do not for root that acts as that user.
    ///   - admitting: checks the client's limits, after the check for EBUSY and before the FLBs. When it throws,
    ///     nothing has changed.
    /// - Throws: as ``preserve(_:token:as:)``. Between EBUSY and the errors of FLBs and handler: EDQUOT at the user's
    ///   limit, then the errors of `admitting`. ENOSPC also at the user's limit on the arena, which is known last.
    package func preserve(
        _ descriptor: FileDescriptor, token: UInt64, as compatible: String? = nil, answering answer: Answer? = nil,
        admittedAs file: FileIdentity? = nil, isLimited: Bool = true,
        admitting: () throws(LiveUpdateError) -> Void = {}
    ) throws(LiveUpdateError) {
        try boot.preserve(
            descriptor, token: token, in: self, as: compatible, answer, admittedAs: file, isLimited: isLimited,
            admitting)
    }

    /// Unpreserves one file of an outgoing session. The session goes on with its other files.
    ///
    /// - Throws: ENODEV when the boot has ended, EINVAL on an incoming session, EBADF when it is closed, ENOENT for an
    ///   unknown token, ENOSPC.
    public func unpreserve(token: UInt64) throws(LiveUpdateError) { try unpreserve(token: token, answering: nil) }

    /// Unpreserves one file as ``unpreserve(token:)`` does, and commits an answer with it.
    package func unpreserve(token: UInt64, answering answer: Answer?) throws(LiveUpdateError) {
        try boot.unpreserve(token: token, from: self, answer)
    }

    /// Returns a descriptor of a file of an outgoing session, and changes nothing. A restarted program continues with
    /// the descriptor, and unpreserves the file afterwards. The kernel has no such call.
    ///
    /// - Returns: a new descriptor of the held open file description. The descriptor is the caller's, and stays valid
    ///   after the session has closed its own copy.
    /// - Throws: ENODEV when the boot has ended, EINVAL on an incoming session, EBADF when the session is closed,
    ///   ENOENT for an unknown token, EMFILE. For a lost file: EBADF, or the error with which its handler failed to
    ///   find the file again.
    public func get(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor { try boot.get(token: token, from: self) }

    /// Retrieves a file. Files can be retrieved in any order, and a repeated retrieve returns another descriptor.
    ///
    /// - Returns: a new descriptor of the held open file description. The descriptor is the caller's, and stays valid
    ///   after the session is finished.
    /// - Throws: ENODEV when the boot has ended, EINVAL on an outgoing session, ENOENT for an unknown token; EMFILE,
    ///   and a repeated retrieve can then work; and the error of the handler, which is remembered for ever. For a file
    ///   that was lost with its last holder: the error with which its handler fails to find the file again, until it
    ///   finds the file.
    public func retrieve(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor {
        try boot.retrieve(token: token, from: self)
    }

    /// Returns a descriptor of a file that the previous boot handed over, without asking its handler, and changes
    /// nothing. It also works for a file that was left out of the update, and after a retrieve that failed.
    ///
    /// - Returns: a new descriptor of the held open file description. The descriptor is the caller's.
    /// - Throws: ENODEV when the boot has ended, EINVAL on an outgoing session, ENOENT for an unknown token, EBADF when
    ///   the session is closed or the file is lost; EMFILE.
    package func retrieveAsHeld(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor {
        try boot.retrieveAsHeld(token: token, from: self)
    }

    /// Finishes all files of an incoming session, retrieved or not. A second finish does nothing.
    ///
    /// - Throws: ENODEV when the boot has ended, EINVAL on an outgoing session, EBADF when it is closed, EBUSY when a
    ///   handler cannot finish a file yet, ENOSPC. Nothing has changed then.
    public func finish() throws(LiveUpdateError) { try boot.finish(self) }

    /// Ends a session: unpreserves the files of an outgoing session, newest first, or finishes an incoming session.
    ///
    /// - Throws: ENODEV when the boot has ended, EBADF when it is closed already, EBUSY when a handler cannot finish a
    ///   file of an incoming session yet: the session is closed then, and can be retrieved again. ENOSPC.
    public func close() throws(LiveUpdateError) { try boot.close(self) }

    /// Closes an incoming session without finishing it, so that the session can be retrieved again. luod does this when
    /// the session may never have reached its client. A finished session ends as with ``close()``.
    ///
    /// - Throws: ENODEV when the boot has ended, EINVAL on an outgoing session, EBADF when it is closed already,
    ///   ENOSPC.
    package func abandon() throws(LiveUpdateError) { try boot.abandon(self) }

    /// Ends a session as ``close()`` does, and finishes its files also when a handler says that it cannot finish yet.
    ///
    /// - Returns: a line for each file that its handler could not finish yet. Empty when no handler refused.
    /// - Throws: ENODEV when the boot has ended, EBADF when it is closed already, ENOSPC.
    @discardableResult
    package func closeForcibly() throws(LiveUpdateError) -> [String] { try boot.closeForcibly(self) }

    /// The user of the session, and the slot that holds it.
    package var holder: SessionHolder { boot.holder(of: id) }

    /// Stores the checksums of an outgoing file, in place of earlier ones.
    ///
    /// - Parameters:
    ///   - token: the number of the file in the session.
    ///   - sums: the checksums.
    ///   - answer: is committed with the change: see ``Answer``.
    ///   - isLimited: whether the limits of the session's user apply.
    /// - Throws: ENODEV when the boot has ended, EBADF when the session is closed, EINVAL on an incoming session,
    ///   ENOENT for an unknown token, ENOSPC at the arena's limit or the user's share of it.
    package func attest(
        token: UInt64, _ sums: FileSums, answering answer: Answer? = nil, isLimited: Bool = true
    ) throws(LiveUpdateError) {
        try boot.attest(self, token: token, sums, answer, isLimited: isLimited)
    }

    /// The checksums of a file of either direction.
    ///
    /// - Throws: ENODEV, EBADF, ENOENT for an unknown token, ENODATA for a file without sums, EIO for damaged sums.
    package func attestation(token: UInt64) throws(LiveUpdateError) -> FileSums {
        try boot.attestation(self, token: token)
    }

    /// The client that opened the session last; nil when it is unknown.
    package var client: SessionClient? { boot.client(of: id) }

    /// Changes the holder of the session. The user must stay the same.
    ///
    /// - Throws: ENODEV when the boot has ended, EBADF when it is closed, EINVAL for another user, ENOSPC.
    package func hold(by holder: SessionHolder, answering answer: Answer? = nil) throws(LiveUpdateError) {
        try boot.hold(self, holder, answer, client)
    }

    /// Changes the holder of the session because another client opens it.
    ///
    /// - Parameters:
    ///   - client: the client that opens the session; nil when it is unknown.
    ///   - holder: the user of the session, and the slot that holds it from now on.
    ///   - answer: is committed with the change: see ``Answer``.
    /// - Throws: as ``hold(by:answering:)``.
    package func attach(
        to client: SessionClient?, by holder: SessionHolder, answering answer: Answer? = nil
    ) throws(LiveUpdateError) {
        try boot.hold(self, holder, answer, client)
    }

    /// Makes an incoming session that is open and not finished wait to be retrieved again. This handle is closed then.
    ///
    /// - Returns: false for any other session, in which nothing changes.
    /// - Throws: ENODEV when the boot has ended, EBADF when it is closed already, ENOSPC.
    package func leave() throws(LiveUpdateError) -> Bool { try boot.leave(self) }

    /// The tokens of the session's files, in the order in which the files were preserved.
    public var tokens: [UInt64] { boot.tokens(of: id) }
}
