import Platform
public import SystemPackage

/// An open session: a named set of files. The kernel's session file descriptor.
///
/// It lives until ``close()``, or until the boot ends. Dropping the last reference to this object closes nothing: memory
/// is not let go by accident. ``Orchestrator/openSessions`` has all that are open.
public final class Session: Sendable {
    /// As it was made, or handed over.
    public let name: SessionName
    /// Made in this boot, or handed over to it.
    public let direction: Direction
    /// Tells it from all others of this boot.
    public var number: UInt64 { id.value }

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

    /// Preserves a file while its user goes on using it. The descriptor stays the caller's: a copy is kept.
    ///
    /// - Parameters:
    ///   - descriptor: of the file; it stays open.
    ///   - token: names the file inside the session: any 64-bit number.
    ///   - compatible: names the handler; nil: the first one that takes the file.
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
    ///   - answer: is committed with the file: see ``Answer``.
    ///   - file: the identity of the file, if the caller has looked at it, and has seen that the descriptor is more than
    ///     a path (O_PATH); nil: the ``DescriptorStore`` looks.
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

    /// Unpreserves one file of an outgoing session, which goes on with the others.
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
    /// - Returns: a new descriptor of the kept open file description, for the caller to close.
    /// - Throws: ENODEV when the boot has ended, EINVAL on an incoming session, EBADF when the session is closed,
    ///   ENOENT for an unknown token, EMFILE. For a lost file: EBADF, or the error with which its handler failed to
    ///   find the file again.
    public func get(token: UInt64) throws(LiveUpdateError) -> FileDescriptor { try boot.get(token: token, from: self) }

    /// Gives a file back: a new descriptor of the same open file description, for the caller to close. Any order; again
    /// gives another descriptor.
    ///
    /// - Throws: ENODEV when the boot has ended, EINVAL on an outgoing session, ENOENT for an unknown token, what its
    ///   handler throws (and then for ever), EMFILE. When the file was lost with its last holder: what its handler misses
    ///   to find it again, as long as it does.
    public func retrieve(token: UInt64) throws(LiveUpdateError) -> FileDescriptor {
        try boot.retrieve(token: token, from: self)
    }

    /// Returns a descriptor of a file that the previous boot handed over, without asking its handler, and changes
    /// nothing. It also works for a file that was left out of the update, and after a retrieve that failed.
    ///
    /// - Returns: a new descriptor of the held open file description, for the caller to close.
    /// - Throws: ENODEV when the boot has ended, EINVAL on an outgoing session, ENOENT for an unknown token, EBADF when
    ///   the session is closed or the file is lost; EMFILE.
    package func retrieveAsHeld(token: UInt64) throws(LiveUpdateError) -> FileDescriptor {
        try boot.retrieveAsHeld(token: token, from: self)
    }

    /// Lets go of all files of an incoming session, retrieved or not. Finishing again does nothing.
    ///
    /// - Throws: ENODEV when the boot has ended, EINVAL on an outgoing session, EBUSY when a handler cannot let go yet:
    ///   then nothing has changed.
    public func finish() throws(LiveUpdateError) { try boot.finish(self) }

    /// Ends an outgoing session by unpreserving its files, newest first; an incoming one by finishing it.
    ///
    /// - Throws: ENODEV when the boot has ended, EBADF when it is closed already; on an incoming session EBUSY when a
    ///   handler cannot let go yet: it is closed then, and can be retrieved again.
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

    /// Whose it is and what holds it.
    package var holder: SessionHolder { boot.holder(of: id) }

    /// Changes what holds it, never whose it is.
    ///
    /// - Throws: ENODEV when the boot has ended, EBADF when it is closed, EINVAL for another owner, ENOSPC.
    package func hold(by holder: SessionHolder, answering answer: Answer? = nil) throws(LiveUpdateError) {
        try boot.hold(self, holder, answer)
    }

    /// The tokens of its files, in the order in which they were preserved.
    public var tokens: [UInt64] { boot.tokens(of: id) }
}
