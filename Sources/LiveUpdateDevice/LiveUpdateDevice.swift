public import LiveUpdate
package import LiveUpdateProtocol
import Platform
public import SystemPackage

/// `/dev/liveupdate` for a program whose files must outlive it: of `luod`, over its socket, or the kernel's own.
///
/// 1. ``createSession(_:)``, and ``DeviceSession/preserve(_:token:)`` each file under a number of your own.
/// 2. `luod` is updated, or, when the session is detached, this program ends.
/// 3. ``retrieveSession(_:)`` or ``attachSession(_:)``, ``DeviceSession/retrieve(token:)`` or
///    ``DeviceSession/get(token:)``.
/// 4. ``DeviceSession/finish()``.
///
/// Sessions outlive it. Calls from several threads wait for each other. A call that is under way when `luod` is
/// updated, or when its orchestrator dies, takes longer, and is done once.
public final class LiveUpdateDevice: Sendable {
    private let channel: any Channel
    /// The patience of the client; nil: it waits for ever.
    package let patience: AnswerPatience?

    /// Connects to `luod`.
    ///
    /// - Parameters:
    ///   - state: the state directory of luod; nil for `LUO_STATE` of the environment, or /run/luo.
    ///   - user: the user to act as (``act(as:)``); nil for the user of this process.
    /// - Throws: ENOENT or ECONNREFUSED when no luod runs there, EACCES when this user may not connect, EMFILE; EPERM
    ///   when only root may act as that user.
    public convenience init(state: String? = nil, actingAs user: UInt32? = nil) throws(LiveUpdateError) {
        try self.init(state: state, patience: nil)
        if let user { try act(as: user) }
    }

    /// Connects to `luod`, and waits for answers no longer than the patience says.
    ///
    /// - Throws: as ``init(state:actingAs:)``; ETIMEDOUT when luod does not answer.
    package init(state: String?, patience: AnswerPatience?) throws(LiveUpdateError) {
        let state = Self.state(state)
        self.patience = patience
        do {
            channel = try SocketChannel(to: state, patience)
        } catch {
            if error.errno == .timedOut, let patience { throw patience.error("connecting") }
            throw CallFailure.connecting(error.errno, state)
        }
    }

    static func state(_ state: String?) -> String { state ?? environmentVariable("LUO_STATE") ?? "/run/luo" }

    /// Makes this connection act as another user from now on: session names mean sessions of that user, new sessions
    /// belong to that user, and the user's limits do not apply. An extension, for root only.
    ///
    /// - Parameter user: a user's number.
    /// - Throws: EPERM unless this process runs as root.
    public func act(as user: UInt32) throws(LiveUpdateError) {
        try channel.make(.asUser, WordCall(user).body, of: "user \(user)")
    }

    /// Opens the kernel's device. Experimental: no kernel that has one was tested yet. Calls that only `luod` has are
    /// ENOTTY on it.
    ///
    /// - Parameter path: `/dev/liveupdate`.
    /// - Throws: ENOENT when this kernel has none, EBUSY while another program has it open, EACCES, EIO when the state
    ///   from the previous kernel cannot be read.
    public init(kernel path: String) throws(LiveUpdateError) {
        patience = nil
        do {
            channel = KernelChannel(try openForWriting(path))
        } catch {
            throw CallFailure.opening(error.errno, path)
        }
    }

    /// The connection, or the device: to be polled, or handed to another process. Do not close it.
    public var descriptor: FileDescriptor { channel.descriptor }

    // MARK: Sessions

    /// Makes an outgoing session.
    ///
    /// - Parameter name: 1 to 63 bytes; each user has names of their own.
    /// - Throws: EINVAL for another name, EEXIST when there is an outgoing one of that name, EMFILE and EUSERS at the
    ///   user's limits, ENOSPC at the arena's.
    public func createSession(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        try open(.createSession, name)
    }

    /// Opens an incoming session: one that the previous boot handed over.
    ///
    /// - Throws: ENOENT when there is none of that name, or it is finished; EINVAL when it was retrieved already and is
    ///   still open, or detached.
    public func retrieveSession(_ name: SessionName) throws(LiveUpdateError) -> DeviceSession {
        try open(.retrieveSession, name)
    }

    /// Opens a detached session again; an extension.
    ///
    /// - Parameters:
    ///   - name: of the session.
    ///   - direction: outgoing, made since the last update, or incoming, handed over by it: there may be one of each of
    ///     the same name. nil: either; if both have this name, the outgoing one.
    /// - Throws: ENOENT when this user has none of that name, EBUSY when it is not detached, or a client has it
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
        // What does not fit the struct would be cut, and could be another one's name.
        guard name.isValid else {
            throw Self.invalidName(call == .createSession ? .invalidArgument : .noSuchFileOrDirectory, name)
        }
        let descriptor = try channel.descriptor(from: call, NameCall(name, word: word).body, of: subject)
        return DeviceSession(channel.session(descriptor), subject)
    }

    /// A name that does not fit the struct of a call.
    private static func invalidName(_ errno: Errno, _ name: SessionName) -> LiveUpdateError {
        LiveUpdateError(
            errno, "no session can be named \"\(name)\": a name has 1 to 63 bytes, none of them 0",
            remedy: "use another name")
    }

    /// Removes a session and unpreserves or finishes its files, without opening the session; an extension.
    ///
    /// - Parameters:
    ///   - name: of a session of this user.
    ///   - direction: as for ``attachSession(_:_:)``.
    ///   - force: whether to remove the session also while a client holds it, or a handler cannot finish a file yet.
    /// - Returns: a line for each obstacle that was overridden. Empty without `force`.
    /// - Throws: ENOENT when this user has none of that name; without `force` EBUSY while a client holds the session,
    ///   or when a handler cannot finish yet: nothing has changed then.
    @discardableResult
    public func removeSession(
        _ name: SessionName, _ direction: Direction? = nil, force: Bool = false
    ) throws(LiveUpdateError) -> String {
        let subject = "session \"\(name)\""
        guard name.isValid else { throw Self.invalidName(.noSuchFileOrDirectory, name) }
        var flags: UInt32 =
            switch direction {
            case nil: 0
            case .outgoing: UpdateCall.outgoing
            case .incoming: UpdateCall.incoming
            }
        if force { flags |= UpdateCall.force }
        return try channel.explained(.removeSession, UpdateCall(flags: flags, text: name.description), of: subject).text
    }

    // MARK: luod itself

    /// The sessions and files that luod holds, as far as this user may see them, and luod itself; an extension.
    ///
    /// Sessions that come and go meanwhile are there or not; all others are there once.
    ///
    /// - Returns: lines of JSON: docs/protocol.md.
    /// - Throws: ESTALE when updates kept coming between the pages.
    public func status() throws(LiveUpdateError) -> String {
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

    private func readStatus() throws(LiveUpdateError) -> String {
        var (text, next): ([UInt8], StatusCall) = ([], StatusCall())
        repeat {
            let page = try statusPage(next)
            text += page.lines
            // Each page leads on. No luod has more than this.
            guard page.next.isFirst || page.next != next, text.count < Self.largestStatus else {
                throw CallFailure.unexpected(.status, "the status")
            }
            next = page.next
        } while !next.isFirst
        return String(decoding: text, as: UTF8.self)
    }

    /// Waits for an answer of luod, which does nothing.
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

    /// Hands over the listener of a filter (``/Platform/listenToCalls(matching:)``): luod answers the calls of all
    /// programs under it, and they find `/dev/liveupdate`. An extension; docs/run.md says how it works.
    ///
    /// - Throws: EINVAL when it is no such listener, ENOTCONN when luod's keeper has died.
    public func serve(programsUnder listener: FileDescriptor) throws(LiveUpdateError) {
        try channel.make(.serve, WordCall().body, about: listener, of: "the program")
    }

    /// Starts the next image, so that an update does not have to: it waits, and its formats are compared. An extension,
    /// for root only, as are the other two.
    ///
    /// - Parameter image: an absolute path; nil: the path of the image that runs, with the file that is there now.
    /// - Throws: EOPNOTSUPP when it cannot be started, or does not know a format in use; EBUSY during an update;
    ///   ENOTCONN when luod's keeper has died; EPERM.
    @discardableResult
    public func load(_ image: String = "") throws(LiveUpdateError) -> UpdateTimes { try update(.load, image, 0) }

    /// Ends this boot and starts the next one: outgoing sessions become incoming ones.
    ///
    /// - Parameters:
    ///   - image: as for ``load(_:)``; without, the one that is loaded.
    ///   - discard: lose incoming sessions that are unfinished.
    ///   - leaveOut: go on without files that cannot be frozen. luod holds their descriptors: in the next boot
    ///     ``DeviceSession/retrieve(token:)`` fails with the reason, and ``DeviceSession/retrieveAsHeld(token:)``
    ///     returns the descriptor.
    /// - Returns: the times, and the cost of the update in ``UpdateTimes/remarks``.
    /// - Throws: as ``load(_:)``; EBUSY when incoming sessions are unfinished; the errno of a freeze (the reason lists
    ///   all files that cannot be frozen); ECANCELED when the next image did not take over. Everything goes on as
    ///   before then.
    @discardableResult
    public func update(
        to image: String = "", discardingUnfinished discard: Bool = false, leavingOut leaveOut: Bool = false
    ) throws(LiveUpdateError) -> UpdateTimes {
        try update(.update, image, (discard ? UpdateCall.discard : 0) | (leaveOut ? UpdateCall.leaveOut : 0))
    }

    /// Replaces the program, and goes on with the same boot: sessions, descriptors and clients stay.
    ///
    /// - Parameter image: as for ``update(to:discardingUnfinished:leavingOut:)``.
    /// - Throws: as ``load(_:)``; ECANCELED when the next image did not take over.
    @discardableResult
    public func reload(_ image: String = "") throws(LiveUpdateError) -> UpdateTimes { try update(.reload, image, 0) }

    private func update(_ call: Call, _ image: String, _ flags: UInt32) throws(LiveUpdateError) -> UpdateTimes {
        guard image.utf8.count < 4096 else {
            throw LiveUpdateError(.fileNameTooLong, "the image's path has more than 4095 bytes")
        }
        let request = UpdateCall(flags: flags, times: [monotonicNanoseconds()], text: image)
        return UpdateTimes(try channel.explained(call, request, of: "luod"))
    }

    /// Replaces the program of luod's keeper, in the same process: nothing is frozen, and all goes on meanwhile.
    ///
    /// - Parameter image: an absolute path; without, that of the keeper's program, as it is now.
    /// - Throws: as ``load(_:)``; EOPNOTSUPP also when the image has another version of luod's control link.
    public func reloadKeeper(_ image: String = "") throws(LiveUpdateError) {
        _ = try update(.reload, image, UpdateCall.keeper)
    }

    /// Ends all processes of luod. An extension, for root and the user that luod runs as.
    ///
    /// - Parameter discard: whether to end luod also when sessions or files are lost with it.
    /// - Returns: the losses and the sessions and files that survive, in lines. luod ends after this call: this
    ///   connection hangs up then.
    /// - Throws: EBUSY while sessions or files would be lost (the reason lists them), or during an update; EPERM.
    @discardableResult
    public func stop(discarding discard: Bool = false) throws(LiveUpdateError) -> String {
        try channel.explained(.stop, UpdateCall(flags: discard ? UpdateCall.discard : 0), of: "luod").text
    }
}
