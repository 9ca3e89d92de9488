public import LiveUpdate
import LiveUpdateProtocol
import Platform
public import SystemPackage

/// `/dev/liveupdate` for a program whose files are to outlive it: of `luod`, over its socket, or the kernel's own.
///
/// 1. ``createSession(_:)``, and ``DeviceSession/preserve(_:token:)`` each file under a number of your own.
/// 2. `luod` is updated, or, when the session is detached, this program ends.
/// 3. ``retrieveSession(_:)`` or ``attachSession(_:)``, ``DeviceSession/retrieve(token:)`` or ``DeviceSession/take(token:)``.
/// 4. ``DeviceSession/finish()``.
///
/// Sessions outlive it. Calls from several threads wait for each other. A call that is under way when `luod` is updated, or
/// when its orchestrator dies, takes longer, and is done once.
public final class LiveUpdateDevice: Sendable {
    private let channel: any Channel

    /// Connects to `luod`.
    ///
    /// - Parameter state: its state directory; without, `LUO_STATE` of the environment, or /run/luo.
    /// - Throws: ENOENT or ECONNREFUSED when no luod runs there, EACCES, EMFILE.
    public init(state: String? = nil) throws(LiveUpdateError) {
        let state = state ?? environmentVariable("LUO_STATE") ?? "/run/luo"
        do {
            channel = try SocketChannel(to: "\(state)/liveupdate")
        } catch {
            throw CallFailure.connecting(error.errno, state)
        }
    }

    /// Opens the kernel's device. Experimental: this has met no kernel yet that has one. What only `luod` has is ENOTTY on it.
    ///
    /// - Parameter path: `/dev/liveupdate`.
    /// - Throws: ENOENT when this kernel has none, EBUSY while another program has it open, EACCES, EIO when what came from
    ///   the previous kernel cannot be read.
    public init(kernel path: String) throws(LiveUpdateError) {
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
    ///   - direction: outgoing, made since the last update, or incoming, handed over by it: there may be one of each of the
    ///     same name. Without it, either: of two the outgoing one.
    /// - Throws: ENOENT when there is none of that name, EBUSY when it is not detached, or somebody has it attached.
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
            throw CallFailure(call, call == .createSession ? .invalidArgument : .noSuchFileOrDirectory, subject).error
        }
        let descriptor = try channel.descriptor(from: call, NameCall(name, word: word).body, of: subject)
        return DeviceSession(type(of: channel).session(descriptor), subject)
    }

    // MARK: luod itself

    /// What luod has, as far as this user may see it; an extension.
    ///
    /// - Returns: JSON, whose members docs/daemon.md lists.
    public func status() throws(LiveUpdateError) -> String {
        let document = try channel.descriptor(from: .status, WordCall().body, of: "the status")
        do throws(SystemCallError) {
            let size = try FileStatus(of: document.borrowed).size
            return String(decoding: try document.borrowed.bytes(at: 0, count: Int(size)), as: UTF8.self)
        } catch {
            throw LiveUpdateError(error, "reading the status")
        }
    }

    /// Hands over the listener of a filter (``/Platform/listenToCalls(matching:)``): luod answers the calls of all that run under
    /// it, and they find `/dev/liveupdate`. An extension; docs/run.md says how it works.
    ///
    /// - Throws: EINVAL when it is no such listener, ENOTCONN when luod's keeper has died.
    public func serve(programsUnder listener: FileDescriptor) throws(LiveUpdateError) {
        _ = try channel.make(.serve, WordCall().body, about: listener, of: "the program")
    }

    /// Starts the next image, so that an update does not have to: it waits, and its formats are compared. An extension, for
    /// root only, as are the other two.
    ///
    /// - Parameter image: an absolute path; without, that of the image that runs, as it is now.
    /// - Throws: EOPNOTSUPP when it cannot be started, or does not know a format in use; EBUSY during an update; ENOTCONN
    ///   when luod's keeper has died; EPERM.
    @discardableResult
    public func load(_ image: String = "") throws(LiveUpdateError) -> UpdateTimes { try update(.load, image, 0) }

    /// Ends this boot and starts the next one: outgoing sessions become incoming ones.
    ///
    /// - Parameters:
    ///   - image: as for ``load(_:)``; without, the one that is loaded.
    ///   - discard: lose incoming sessions that are unfinished.
    /// - Throws: as ``load(_:)``; EBUSY when incoming sessions are unfinished, what a freeze throws, ECANCELED when the
    ///   next image did not take over. Everything goes on as before then.
    @discardableResult
    public func update(to image: String = "", discardingUnfinished discard: Bool = false) throws(LiveUpdateError)
        -> UpdateTimes
    {
        try update(.update, image, discard ? UpdateCall.discard : 0)
    }

    /// Replaces the program, and goes on with the same boot: sessions, descriptors and clients stay.
    ///
    /// - Parameter image: as for ``update(to:discardingUnfinished:)``.
    /// - Throws: as ``load(_:)``; ECANCELED when the next image did not take over.
    @discardableResult
    public func reload(_ image: String = "") throws(LiveUpdateError) -> UpdateTimes { try update(.reload, image, 0) }

    private func update(_ call: Call, _ image: String, _ flags: UInt32) throws(LiveUpdateError) -> UpdateTimes {
        guard image.utf8.count < 4096 else {
            throw LiveUpdateError(.fileNameTooLong, "the image's path has more than 4095 bytes")
        }
        let answer: CallAnswer
        do throws(SystemCallError) {
            answer = try channel.answer(to: call, UpdateCall(flags: flags, text: image).body, about: nil)
        } catch {
            throw CallFailure(call, error.errno, "luod").withoutAnswer(error)
        }
        let body = answer.body.count == call.length ? UpdateCall(answer.body) : UpdateCall()
        if let failure = answer.failure { throw CallFailure(call, failure, "luod").error(saying: body.text) }
        return UpdateTimes(body.times)
    }
}
