// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
public import LiveUpdatePlatform
import LiveUpdateProtocol
public import SystemPackage

/// An open session of a ``LiveUpdateDevice``, with a descriptor of its own.
///
/// The descriptor is closed with the last reference to this object. If there is no copy of it (fork(2) and dup(2) make
/// copies), the close ends the session: an outgoing session unpreserves its files, and an incoming session finishes
/// them. A detached session stays.
public final class DeviceSession: Sendable {
    private let channel: any Channel
    private let subject: String

    init(_ channel: any Channel, _ subject: String) {
        self.channel = channel
        self.subject = subject
    }

    /// Takes over a descriptor of a session of the kernel's device, such as a descriptor that this program inherited.
    ///
    /// - Parameter descriptor: the descriptor, which the session closes at its end. If this call fails, the descriptor
    ///   is closed, too.
    /// - Returns: the session.
    /// - Throws: ENOTTY when the descriptor is not one of such a session; EINVAL before Linux 7.2, which cannot tell;
    ///   EBADF for a descriptor that is not open; ENODEV when the boot of the session has ended.
    public static func ofKernel(
        _ descriptor: consuming OwnedDescriptor
    ) throws(LiveUpdateError) -> DeviceSession {
        let subject = "descriptor \(descriptor.borrowed.rawValue)"
        let channel = KernelChannel(descriptor)
        let name = try DeviceSession(channel, subject).name()
        return DeviceSession(channel, "session \"\(name)\"")
    }

    /// The session's descriptor. You can poll it (it hangs up when luod ends), inherit it, or pass it to another
    /// process. Do not close it.
    public var descriptor: FileDescriptor { channel.descriptor }

    /// The name of the session, from luod or the kernel.
    ///
    /// - Throws: ENODEV when its boot has ended.
    public func name() throws(LiveUpdateError) -> SessionName {
        var call = NameCall("")
        call.word = 0
        let body = try channel.make(.getName, call.body, of: subject)
        guard body.count == Call.getName.length, let name = NameCall(body).name else {
            throw CallFailure.unexpected(.getName, subject)
        }
        return name
    }

    // MARK: Outgoing

    /// Preserves a file, which stays in use. The caller still owns the descriptor.
    ///
    /// - Parameters:
    ///   - file: a descriptor of the file.
    ///   - token: the number of the file in the session, any 64-bit number.
    /// - Throws: in this order: ENODEV when the session's boot has ended, EINVAL on an incoming session, EEXIST when
    ///   the token is in use, EBADF, ENOENT when no handler takes the file, EBUSY when the file is held already, EMFILE
    ///   and EDQUOT at the user's limits, ENOSPC at the arena's or the user's share of it; and the errors of the file's
    ///   handler.
    public func preserve(_ file: FileDescriptor, token: UInt64) throws(LiveUpdateError) {
        try make(.preserve, token, about: file)
    }

    /// Holds any other descriptor open (a tap, an eventfd, a listening socket), without knowing its state. luod only.
    ///
    /// - Throws: like ``preserve(_:token:)``.
    public func preserveHeld(_ file: FileDescriptor, token: UInt64) throws(LiveUpdateError) {
        try make(.preserveHeld, token, about: file)
    }

    /// Checks whether a file can be preserved, by preserving and unpreserving it. luod only.
    ///
    /// - Throws: like ``preserve(_:token:)``.
    public func check(_ file: FileDescriptor, token: UInt64) throws(LiveUpdateError) {
        try make(.check, token, about: file)
    }

    /// Unpreserves one file. luod only.
    ///
    /// - Throws: ENODEV, EINVAL on an incoming session, ENOENT for an unknown token.
    public func unpreserve(token: UInt64) throws(LiveUpdateError) { try make(.unpreserve, token, about: nil) }

    /// Returns a descriptor of one file, and changes nothing. luod only. A program that was restarted without an update
    /// can continue with this descriptor, and unpreserve the file afterwards.
    ///
    /// - Throws: ENODEV, EINVAL on an incoming session, ENOENT for an unknown token, EBADF when the file was lost,
    ///   EMFILE.
    public func get(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor { try file(.get, token) }

    /// Stores the checksums of one file in luod, in place of earlier ones. luod only.
    ///
    /// - Throws: ENODEV, EINVAL on an incoming session and from a luod that does not know this call, ENOENT for an
    ///   unknown token, ENOSPC at the arena's limit or the user's share of it, EMFILE, ENOMEM.
    package func attest(_ sums: FileSums, token: UInt64) throws(LiveUpdateError) {
        let file = try Attestation.file(sums)
        try make(.attest, token, about: file.borrowed)
    }

    /// Returns the checksums of one file, in both directions. luod only.
    ///
    /// - Throws: ENODEV, EINVAL from a luod that does not know this call, ENOENT for an unknown token, ENODATA for a
    ///   file without checksums, EMFILE.
    package func attestation(token: UInt64) throws(LiveUpdateError) -> FileSums {
        let file = try channel.descriptor(
            from: .attestation, FileCall(token: token, descriptor: 0).body, of: about(token))
        return try Attestation.read(file.borrowed)
    }

    /// Returns a descriptor of one file to look at it, in both directions, without its handler. luod only. An incoming
    /// session that is only looked at waits to be retrieved again when it is closed.
    ///
    /// - Throws: ENODEV, EINVAL from a luod that does not know this call, ENOENT for an unknown token, EBADF when the
    ///   file was lost, EMFILE.
    package func look(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor {
        try channel.descriptor(
            from: .attestation, FileCall(token: token, descriptor: FileCall.looksAtFile).body, of: about(token))
    }

    // MARK: Incoming

    /// Retrieves a file. Files can be retrieved in any order, and more than once.
    ///
    /// - Throws: ENODEV, EINVAL on an outgoing session, ENOENT for an unknown token, the error of its handler (each
    ///   further call then throws the same error), EMFILE.
    public func retrieve(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor { try file(.retrieve, token) }

    /// Returns the descriptor of a file that an update left out, without asking its handler. luod only. For such a file
    /// ``retrieve(token:)`` throws the reason of the failed freeze.
    ///
    /// - Throws: ENODEV, EINVAL on an outgoing session, ENOENT for an unknown token, EBADF when the file was lost,
    ///   EMFILE.
    public func retrieveAsHeld(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor {
        try file(.retrieveAsHeld, token)
    }

    /// Finishes the session, and releases all its files, retrieved or not. A second call does nothing.
    ///
    /// - Throws: ENODEV, EINVAL on an outgoing session, EBUSY when a handler cannot finish yet. Nothing has changed in
    ///   this case.
    public func finish() throws(LiveUpdateError) { try channel.make(.finish, WordCall().body, of: subject) }

    // MARK: Both

    /// Makes the session detached, or not. A detached session survives its last close, in both directions and over an
    /// update, and can be attached again by its name. luod only.
    ///
    /// - Throws: ENODEV, ENOSPC.
    public func setDetached(_ isDetached: Bool) throws(LiveUpdateError) {
        try channel.make(.setDetached, WordCall(isDetached ? 1 : 0).body, of: subject)
    }

    // MARK: Updates

    /// Subscribes, so that luod asks this client before each update, or ends the subscription. luod only.
    ///
    /// Before an update luod sends ``UpdateNotice/freezeSoon(_:)``, waits for ``ready(to:)`` for a limited time, and
    /// sends ``UpdateNotice/over(isNextBoot:)`` when the update was made or called off. If an update already asks other
    /// clients, it does not ask this one. The subscription ends with this session's descriptor and with the boot. It
    /// survives reloads, and the deaths of luod's processes.
    ///
    /// A client that has subscribed must read its notices with ``nextNotice(within:)``. luod does not answer the next
    /// request while a notice is unread. Calls of this object read such a notice, and set it aside.
    ///
    /// - Parameter isWanted: whether to subscribe. False ends the subscription, and luod does not wait for this client
    ///   any longer.
    /// - Throws: ENODEV when the session's boot has ended; EINVAL from a luod that does not know this call, and under
    ///   `luoctl run`; ENOTTY on the kernel's device.
    public func subscribe(_ isWanted: Bool = true) throws(LiveUpdateError) {
        try channel.make(.subscribe, WordCall(isWanted ? 1 : 0).body, of: subject)
    }

    /// Waits for the next notice, and returns it. Notices come in the order in which luod sent them.
    ///
    /// An event loop polls ``descriptor``, and calls this with a timeout of zero when the descriptor is readable, and
    /// after each call on this session, because that call may have set a notice aside.
    ///
    /// - Parameter timeout: the longest wait; nil waits for ever.
    /// - Returns: nil when no notice came in time.
    /// - Throws: ENOTCONN when luod has ended; ENOTTY on the kernel's device.
    public func nextNotice(within timeout: Duration? = nil) throws(LiveUpdateError) -> UpdateNotice? {
        do throws(SystemCallError) {
            return try channel.notice(within: timeout?.count(of: .milliseconds(1)))
        } catch {
            throw CallFailure(.subscribe, error.errno, subject).withoutAnswer(error)
        }
    }

    /// Says that this client has stopped changing its files, so that the update may begin. A second call for the same
    /// question changes nothing.
    ///
    /// - Parameter question: the question in ``UpdateNotice/freezeSoon(_:)``.
    /// - Throws: ESTALE when luod does not wait for this answer any longer, because the time has ended or the update
    ///   was called off; ``UpdateNotice/over(isNextBoot:)`` then follows. ENODEV when the session's boot has ended;
    ///   EINVAL from a luod that does not know this call, and under `luoctl run`; ENOTTY on the kernel's device.
    public func ready(to question: UpdateQuestion) throws(LiveUpdateError) {
        try channel.make(.ready, ReadyCall(question.number).body, of: subject)
    }

    private func make(_ call: Call, _ token: UInt64, about file: FileDescriptor?) throws(LiveUpdateError) {
        try channel.make(call, FileCall(token: token).body, about: file, of: about(token))
    }

    private func file(_ call: Call, _ token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor {
        try channel.descriptor(from: call, FileCall(token: token).body, of: about(token))
    }

    private func about(_ token: UInt64) -> String { "token \(token) in \(subject)" }
}

extension Duration {
    /// How many of these units the duration has, rounded up; 0 for a negative one. It is at most `UInt64.max`.
    func count(of unit: Duration) -> UInt64 {
        let (all, one) = (attosecondCount, unit.attosecondCount)
        return UInt64(clamping: (all + one - 1) / one)
    }

    private var attosecondCount: Int128 {
        Int128(components.seconds) * 1_000_000_000_000_000_000 + Int128(components.attoseconds)
    }
}
