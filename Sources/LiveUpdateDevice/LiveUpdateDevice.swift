// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
package import LiveUpdateProtocol
public import SystemPackage

/// The device `/dev/liveupdate`, for programs with files that must outlive them: luod's device, over a socket, or the
/// kernel's own.
///
/// 1. Make a session with ``createSession(_:)``, and preserve each file in it under a token of your choice with
///    ``DeviceSession/preserve(_:token:)``.
/// 2. luod is updated; or, if the session is detached, this program ends.
/// 3. Open the session again with ``retrieveSession(_:)`` or ``attachSession(_:_:)``, and get each file with
///    ``DeviceSession/retrieve(token:)`` or ``DeviceSession/get(token:)``.
/// 4. Finish the session with ``DeviceSession/finish()``.
///
/// Sessions outlive this object. Calls from several threads wait for each other. A call during an update of luod, or
/// during the death of its orchestrator, takes longer, and is done once.
public final class LiveUpdateDevice: Sendable {
    private let channel: any Channel
    /// The patience of the client; nil: it waits for ever.
    package let patience: AnswerPatience?

    private init(_ channel: any Channel, patience: AnswerPatience? = nil) {
        self.channel = channel
        self.patience = patience
    }

    /// Connects to luod.
    ///
    /// - Parameters:
    ///   - state: the state directory of luod; nil for `LUO_STATE` in the environment, or /run/luo.
    ///   - user: the user to act as (``act(as:)``); nil for the user of this process.
    /// - Returns: the device of luod, with a connection of its own.
    /// - Throws: ENOENT or ECONNREFUSED when no luod runs there, EACCES when this user may not connect, EMFILE; EPERM
    ///   when only root may act as that user.
    public static func luod(
        state: FilePath? = nil, actingAs user: UInt32? = nil
    ) throws(LiveUpdateError) -> LiveUpdateDevice {
        let device = try luod(state: state, patience: nil)
        if let user { try device.act(as: user) }
        return device
    }

    /// Connects to luod, and waits for answers only as long as the patience allows.
    ///
    /// - Throws: like ``luod(state:actingAs:)``; ETIMEDOUT when luod does not answer.
    package static func luod(
        state: FilePath?, patience: AnswerPatience?
    ) throws(LiveUpdateError) -> LiveUpdateDevice {
        let state = Self.state(state).string
        do {
            return LiveUpdateDevice(try SocketChannel(to: state, patience), patience: patience)
        } catch {
            if error.errno == .timedOut, let patience { throw patience.error("connecting") }
            throw CallFailure.connecting(error.errno, state)
        }
    }

    /// The state directory of luod: `state`, or `LUO_STATE` in the environment, or /run/luo.
    package static func state(_ state: FilePath?) -> FilePath {
        state ?? stateInEnvironment.map { FilePath($0) } ?? "/run/luo"
    }

    /// Opens the kernel's device, which was tested with Linux 7.3.4. Calls that only luod has fail with ENOTTY.
    ///
    /// A session of the kernel lives only as long as a program has its descriptor. Close this object before the next
    /// program opens the device: one program at a time can have it open.
    ///
    /// - Parameter path: the path of the device.
    /// - Returns: the device, with a descriptor of its own.
    /// - Throws: ENOENT when this kernel has no such device, EBUSY while another program has it open, EACCES, EIO when
    ///   the state from the previous kernel cannot be read.
    public static func kernel(_ path: FilePath = "/dev/liveupdate") throws(LiveUpdateError) -> LiveUpdateDevice {
        do {
            return LiveUpdateDevice(KernelChannel(try openForWriting(path.string)))
        } catch {
            throw CallFailure.opening(error.errno, path.string)
        }
    }

    /// Makes this connection act as another user from now on. Session names mean sessions of that user, new sessions
    /// belong to that user, and the user's limits do not apply. luod only, and only for root.
    ///
    /// - Parameter user: the ID of the user.
    /// - Throws: EPERM unless this process runs as root.
    public func act(as user: UInt32) throws(LiveUpdateError) {
        try channel.make(.asUser, WordCall(user).body, of: "user \(user)")
    }

    /// The descriptor of the connection or of the device. You can poll it or pass it to another process. Do not close
    /// it.
    public var descriptor: FileDescriptor { channel.descriptor }

    // MARK: Sessions

    /// Makes an outgoing session.
    ///
    /// - Parameter name: 1 to 63 bytes. Each user has separate names.
    /// - Returns: the session, with a descriptor of its own.
    /// - Throws: EINVAL for an invalid name, EEXIST when there is an outgoing session with that name, EMFILE and EUSERS
    ///   at the user's limits, ENOSPC at the arena's limit.
    public func createSession(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        try open(.createSession, name)
    }

    /// Opens an incoming session, which the previous boot handed over.
    ///
    /// - Throws: ENOENT when there is no session with that name, or it is finished; EINVAL when it was already
    ///   retrieved and is still open or detached.
    public func retrieveSession(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        try open(.retrieveSession, name)
    }

    /// Opens a detached session again. luod only.
    ///
    /// - Parameters:
    ///   - name: the name of the session.
    ///   - direction: outgoing, for a session made since the last update; or incoming, for a session that the update
    ///     handed over; nil for either. If both an incoming and an outgoing session have this name, the outgoing one is
    ///     used.
    /// - Returns: the session, with a descriptor of its own.
    /// - Throws: ENOENT when this user has no session with that name, EBUSY when it is not detached, or a client has it
    ///   attached.
    public func attachSession(
        _ name: SessionName, _ direction: Direction? = nil
    ) throws(LiveUpdateError) -> DeviceSession {
        let which: AttachedDirection =
            switch direction {
            case nil: .any
            case .outgoing: .outgoing
            case .incoming: .incoming
            }
        return try open(.attachSession, name, which.rawValue)
    }

    private func open(
        _ call: Call, _ name: SessionName, _ word: UInt32 = .max
    ) throws(LiveUpdateError) -> DeviceSession {
        let subject = "session \"\(name)\""
        // A longer name would be cut, and could then be the name of another session.
        guard name.isValid else {
            throw Self.invalidName(call == .createSession ? .invalidArgument : .noSuchFileOrDirectory, name)
        }
        let descriptor = try channel.descriptor(from: call, NameCall(name, word: word).body, of: subject)
        return DeviceSession(channel.session(descriptor), subject)
    }

    /// The error of a name that does not fit the struct of a call.
    private static func invalidName(_ errno: Errno, _ name: SessionName) -> LiveUpdateError {
        LiveUpdateError(
            errno, "no session can be named \"\(name)\": a name has 1 to 63 bytes, none of them 0",
            remedy: "use another name")
    }

    /// Removes a session without opening it, and unpreserves or finishes its files. luod only.
    ///
    /// - Parameters:
    ///   - name: the name of a session of this user.
    ///   - direction: as for ``attachSession(_:_:)``.
    ///   - force: whether to remove the session even if a client holds it, or if a handler cannot finish a file yet.
    /// - Returns: a line for each overridden obstacle. Empty without `force`.
    /// - Throws: ENOENT when this user has no session with that name; without `force` EBUSY while a client holds the
    ///   session, or when a handler cannot finish yet. Nothing has changed in this case.
    @discardableResult
    public func removeSession(
        _ name: SessionName, _ direction: Direction? = nil, force: Bool = false
    ) throws(LiveUpdateError) -> [String] {
        let subject = "session \"\(name)\""
        guard name.isValid else { throw Self.invalidName(.noSuchFileOrDirectory, name) }
        var flags: UInt32 =
            switch direction {
            case nil: 0
            case .outgoing: UpdateCall.outgoing
            case .incoming: UpdateCall.incoming
            }
        if force { flags |= UpdateCall.force }
        let request = UpdateCall(flags: flags, text: name.description)
        return try channel.explained(.removeSession, request, of: subject).lines
    }

    // MARK: luod itself

    /// The sessions and files that luod holds and that this user may see, and the status of luod itself. luod only.
    ///
    /// Sessions that are made or ended during the call may be missing. All others appear once.
    ///
    /// - Throws: ESTALE when there was an update between the pages at each attempt, ENOTSUP when the status has another
    ///   format than this client knows.
    public func status() throws(LiveUpdateError) -> DeviceStatus {
        guard let status = DeviceStatus(try LuodStatus(of: self)) else { throw LuodStatus.unreadable }
        return status
    }

    /// The lines of the whole status, from one boot.
    ///
    /// - Throws: ESTALE when there was an update between the pages at each attempt.
    package func statusLines() throws(LiveUpdateError) -> [UInt8] {
        var tries = 8
        while true {
            do throws(LiveUpdateError) {
                return try readStatus()
            } catch {
                tries -= 1
                guard error.errno == .staleNFSFileHandle, tries > 0 else { throw error }
            }
        }
    }

    private func readStatus() throws(LiveUpdateError) -> [UInt8] {
        var (lines, next): ([UInt8], StatusCall) = ([], StatusCall())
        repeat {
            let page = try statusPage(next)
            lines += page.lines
            // Each page must make progress, and no luod has a longer status.
            guard page.next.isFirst || page.next != next, lines.count < Self.largestStatus else {
                throw CallFailure.unexpected(.status, "the status")
            }
            next = page.next
        } while !next.isFirst
        return lines
    }

    /// Waits for an answer from luod, which does nothing else.
    package func ping() throws(LiveUpdateError) { try channel.make(.ping, WordCall().body, of: "a ping") }

    /// One page of the status.
    ///
    /// - Returns: the lines, and the request for the next page.
    package func statusPage(
        _ request: StatusCall = StatusCall()
    ) throws(LiveUpdateError) -> (lines: [UInt8], next: StatusCall) {
        let answer = try channel.worked(.status, request.body, about: nil, of: "the status")
        guard answer.descriptor == nil, answer.body.count == Call.status.length else {
            answer.close()
            throw CallFailure.unexpected(.status, "the status")
        }
        return (answer.text, StatusCall(answer.body))
    }

    /// The largest status that is read, in bytes: more than a million files need.
    private static let largestStatus = 256 << 20

    /// Hands the listener of a seccomp filter to luod (`listenToCalls(matching:)`). luod then answers the calls of all
    /// programs under the filter, and they find `/dev/liveupdate`. luod only. See docs/run.md.
    ///
    /// - Throws: EINVAL when the descriptor is not such a listener, ENOTCONN when luod's keeper has died.
    package func serve(programsUnder listener: FileDescriptor) throws(LiveUpdateError) {
        try channel.make(.serve, WordCall().body, about: listener, of: "the program")
    }

    /// Starts the next image ahead of an update and compares its formats. The image then waits. luod only, and only for
    /// root and the user that luod runs as, like ``reload(_:)`` and
    /// ``update(to:discardingUnfinished:leavingOut:patience:withoutReady:)``.
    ///
    /// - Parameter image: an absolute path; nil for the path of the current image, with the file that is there now.
    /// - Returns: the times of the phases. ``UpdateTimes/loaded`` is the last of them.
    /// - Throws: EOPNOTSUPP when the image cannot be started, or does not know a format in use; EBUSY during an update;
    ///   ENOTCONN when luod's keeper has died; EPERM.
    @discardableResult
    public func load(_ image: FilePath? = nil) throws(LiveUpdateError) -> UpdateTimes {
        try update(.load, image, 0)
    }

    /// Ends this boot and starts the next one. Outgoing sessions become incoming ones.
    ///
    /// - Parameters:
    ///   - image: as for ``load(_:)``; nil for the loaded image, if there is one.
    ///   - discard: whether to lose unfinished incoming sessions.
    ///   - leaveOut: whether to continue without files that cannot be frozen. luod holds their descriptors. In the next
    ///     boot ``DeviceSession/retrieve(token:)`` fails with the reason, and ``DeviceSession/retrieveAsHeld(token:)``
    ///     returns the descriptor.
    ///   - patience: how long to wait until all subscribers are ready (``DeviceSession/subscribe(_:)``); nil for 5 s.
    ///   - withoutReady: whether to continue without the subscribers that are not ready in time.
    /// - Returns: the times, and the cost of the update in ``UpdateTimes/remarks``.
    /// - Throws: like ``load(_:)``; EBUSY when incoming sessions are unfinished; the errno of a freeze (the reason
    ///   lists all files that cannot be frozen); ETIMEDOUT when subscribers were not ready in time (the reason lists
    ///   them); ECANCELED when the next image did not take over. After an error everything continues as before.
    @discardableResult
    public func update(
        to image: FilePath? = nil, discardingUnfinished discard: Bool = false, leavingOut leaveOut: Bool = false,
        patience: Duration? = nil, withoutReady: Bool = false
    ) throws(LiveUpdateError) -> UpdateTimes {
        var flags = discard ? UpdateCall.discard : 0
        if leaveOut { flags |= UpdateCall.leaveOut }
        if withoutReady { flags |= UpdateCall.withoutReady }
        // 0 is the default of luod, and 1 ns is no wait.
        let wait = patience.map { max(1, $0.count(of: .nanoseconds(1))) } ?? 0
        return try update(.update, image, flags, wait)
    }

    /// Replaces the program, and continues the same boot: sessions, descriptors and clients stay.
    ///
    /// - Parameter image: as for ``update(to:discardingUnfinished:leavingOut:patience:withoutReady:)``.
    /// - Returns: the times of the phases.
    /// - Throws: like ``load(_:)``; ECANCELED when the next image did not take over.
    @discardableResult
    public func reload(_ image: FilePath? = nil) throws(LiveUpdateError) -> UpdateTimes {
        try update(.reload, image, 0)
    }

    private func update(
        _ call: Call, _ image: FilePath?, _ flags: UInt32, _ patience: UInt64 = 0
    ) throws(LiveUpdateError) -> UpdateTimes {
        let request = UpdateCall(
            flags: flags, times: [monotonicNanoseconds(), patience], text: try Self.text(of: image))
        return UpdateTimes(try channel.explained(call, request, of: "luod"))
    }

    /// The path of an image as the text of a request. The text is empty for the default image.
    private static func text(of image: FilePath?) throws(LiveUpdateError) -> String {
        guard let image else { return "" }
        guard !image.isEmpty else {
            throw LiveUpdateError(.noSuchFileOrDirectory, "the path of the image is empty", remedy: "name a program")
        }
        guard let text = String(validating: image) else {
            throw LiveUpdateError(
                .invalidArgument, "the image's path \"\(image)\" is not UTF-8", remedy: "give the file another name")
        }
        guard text.utf8.count < 4096 else {
            throw LiveUpdateError(
                .fileNameTooLong, "the image's path has more than 4095 bytes", remedy: "give the file a shorter path")
        }
        return text
    }

    /// Replaces the program of luod's keeper, in the same process. Nothing is frozen, and luod continues to serve.
    ///
    /// - Parameter image: an absolute path; nil for the path of the keeper's program, with the file that is there now.
    /// - Throws: like ``load(_:)``; EOPNOTSUPP also when the image has another version of luod's control link.
    public func reloadKeeper(_ image: FilePath? = nil) throws(LiveUpdateError) {
        _ = try update(.reload, image, UpdateCall.keeper)
    }

    /// Ends all processes of luod. luod only, and only for root and the user that luod runs as.
    ///
    /// - Parameter discard: whether to end luod even if sessions or files are lost.
    /// - Returns: a line for each session and each file that is lost, and for each that survives. luod ends after this
    ///   call, and this connection then hangs up.
    /// - Throws: EBUSY while sessions or files would be lost (the reason lists them), or during an update; EPERM.
    @discardableResult
    public func stop(discarding discard: Bool = false) throws(LiveUpdateError) -> [String] {
        try channel.explained(.stop, UpdateCall(flags: discard ? UpdateCall.discard : 0), of: "luod").lines
    }

    /// The time at which luod publishes for the next kernel.
    package enum KernelUpdate: Sendable {
        /// Never: luod only answers which sessions and files the update would lose.
        case asked
        /// At once. luod then serves no client until this connection ends or sends another request. luod then calls the
        /// update off.
        case now
        /// When luod is ended, as a service manager ends it before the machine restarts. Without a holder no memory
        /// file goes to the next kernel, and no process stays behind, for which the service manager would wait.
        case atEnd(hasHolder: Bool)
    }

    /// Freezes everything for a next boot under another kernel, and publishes it. luod only, and only for root and the
    /// user that luod runs as.
    ///
    /// - Parameters:
    ///   - when: the time of the publication.
    ///   - discard: whether to lose unfinished incoming sessions.
    ///   - leaveBehind: whether to lose the files that end with the kernel or cannot be frozen.
    /// - Returns: a line for each session and file that is lost.
    /// - Throws: EOPNOTSUPP for files that end with the kernel (the reason lists them); the errno of a freeze; EBUSY
    ///   when incoming sessions are unfinished, during an update, or when another process has the kernel's device open;
    ///   ENOMEM when the kernel has no memory for the holes of memory files; ENOSPC; EPERM for other users.
    package func updateKernel(
        _ when: KernelUpdate, discardingUnfinished discard: Bool, leavingBehind leaveBehind: Bool
    ) throws(LiveUpdateError) -> [String] {
        var flags = discard ? UpdateCall.discard : 0
        if leaveBehind { flags |= UpdateCall.leaveOut }
        switch when {
        case .asked: flags |= UpdateCall.onlyAsk
        case .now: break
        case .atEnd(let hasHolder): flags |= UpdateCall.atEnd | (hasHolder ? 0 : UpdateCall.withoutHolder)
        }
        return try channel.explained(.kernelUpdate, UpdateCall(flags: flags), of: "luod").lines
    }

    /// Checks that the state is still published for this connection, after a call of
    /// ``updateKernel(_:discardingUnfinished:leavingBehind:)`` with ``KernelUpdate/now``. It is not when the process of
    /// luod that had published it was ended.
    ///
    /// - Throws: ECANCELED when it is not published any more; the errors of the connection, also when luod has ended.
    package func confirmKernelUpdate() throws(LiveUpdateError) {
        _ = try channel.explained(.kernelUpdate, UpdateCall(flags: UpdateCall.confirm), of: "luod")
    }

    /// Calls off ``updateKernel(_:discardingUnfinished:leavingBehind:)``, because the kernel was not replaced.
    ///
    /// - Throws: EPERM; the errors of the connection.
    package func forgetKernelUpdate() throws(LiveUpdateError) {
        _ = try channel.explained(.kernelUpdate, UpdateCall(flags: UpdateCall.forget), of: "luod")
    }
}
