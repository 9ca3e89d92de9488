public import Platform
public import SystemPackage

/// Whether a handler takes a file.
public enum Acceptance: Hashable, Sendable {
    /// It does.
    case accepted
    /// It does not, and why: shown to who asked when nobody takes it.
    case refused(because: String)
}

/// What a handler's retrieve gives back.
public enum RetrievedFile: Hashable, Sendable {
    /// The kept descriptor is the file.
    case kept
    /// This one is, opened anew; the core takes it over and closes it.
    case opened(FileDescriptor)
}

/// What a file callback gets: the kernel's `struct liveupdate_file_op_args`. There is no private data: whatever a
/// handler has to know is in ``data`` and in what it stored, so that it can be known after a crash, too.
public struct FileContext: Sendable {
    /// The name of its session.
    public let session: SessionName
    /// Its number in the session.
    public let token: UInt64
    /// Device and inode.
    public let identity: FileIdentity
    /// The kept descriptor: to be used, not closed. Nil when it was lost with its last holder, and
    /// ``FileHandler/reopen(_:)`` did not find the file again.
    public let descriptor: FileDescriptor?
    /// The handle that preserve returned: the kernel's `serialized_data`. 0 in preserve itself.
    public let data: UInt64
    /// Whether it was retrieved in this boot.
    public let retrieveStatus: RetrieveStatus
    /// The arena. In preserve and freeze, what is stored belongs to the file.
    public let storage: Storage
    /// The getters of FLBs: from inside a callback they are the only calls that are allowed.
    public let flbs: FLBGetters
}

/// A kind of file that can be preserved: the kernel's `struct liveupdate_file_handler` and its `ops`.
///
/// 1. A file is offered to the handlers in registration order: ``canPreserve(_:)``.
/// 2. The first that accepts it preserves it: ``preserve(_:)``. While it is held, the program goes on using it.
/// 3. In an update it is frozen, ``freeze(_:)``, and the next boot's handler of the same ``compatible`` string gives it
///    back, ``retrieve(_:)``, and lets go of it, ``finish(_:)``.
///
/// Unhappy paths: a session that is closed before an update unpreserves its files, newest first; an update that fails
/// unfreezes them. A process can die in every callback, and it is then called again: callbacks must bear that.
///
/// Callbacks run on the thread that made the request, and may overlap for files of different sessions. Requests made
/// from inside one are refused with EDEADLK, except the getters of FLBs.
public protocol FileHandler: AnyObject, Sendable {
    /// Names the format of the records: 1 to 47 bytes. Raise its number when they change.
    var compatible: String { get }
    /// Who provides this handler; nil when it cannot go away.
    var owner: Owner? { get }

    /// Whether it is offered only those files that somebody wants it to have, by its ``compatible`` string: for one that
    /// takes whatever it gets. Optional.
    var isOnlyOnRequest: Bool { get }

    /// Whether a user can preserve a file of this kind only once at a time: the second time is EBUSY. Optional: true.
    /// A handler that holds a descriptor and knows nothing of its file says false: then the same file can be preserved
    /// again, by this handler or by another.
    var holdsFile: Bool { get }

    /// Whether it is a file of this kind. It must change nothing.
    func canPreserve(_ descriptor: FileDescriptor) -> Acceptance
    /// What makes it one and the same file, when device and inode do not: the kernel's `get_id`. Optional.
    func identity(of descriptor: FileDescriptor) -> FileIdentity?
    /// Whether a kept descriptor is still the file that had this identity when it was preserved, in another process perhaps.
    /// Optional: nil when device and inode say so.
    func recognizes(_ descriptor: FileDescriptor, as identity: FileIdentity) -> Bool?
    /// Saves the file's state and returns a handle to it; any number will do.
    func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64
    /// Undoes preserve.
    func unpreserve(_ file: FileContext)
    /// The last chance to save, inside the blackout. Optional. Returns the handle to travel with: the same, unless
    /// something had to be stored anew.
    func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64
    /// Looks at the file ahead of a freeze that comes soon, so that there is less to do in the blackout. Optional.
    ///
    /// - Returns: what then tells whether ``freeze(_:)`` would only look, find nothing changed, and return the same handle:
    ///   it is not called if so. Nil when it is to be called.
    func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)?
    /// The error with which ``freeze(_:)`` would fail now; nil when the handler knows of none. Optional. An update asks
    /// ahead of the freeze, to name all such files. This must change nothing.
    func freezeObstacle(_ file: FileContext) -> LiveUpdateError?
    /// Undoes freeze, also one that was spared by ``freezeCheck(_:)``. Optional.
    func unfreeze(_ file: FileContext)
    /// Opens the file anew when its descriptor was lost with the last process that held it; the core takes the
    /// descriptor over. Optional: nil for a kind of file that lives in its descriptors only, and is gone then. What it
    /// throws goes to who asked for the file and is not remembered: it is called again.
    func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor?
    /// Gives the file back. A failure is remembered for ever.
    func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile
    /// Whether the file can be let go. Optional.
    func canFinish(_ file: FileContext) -> Bool
    /// Lets go of the file, retrieved or not.
    func finish(_ file: FileContext)
}

extension FileHandler {
    public var owner: Owner? { nil }
    public var isOnlyOnRequest: Bool { false }
    public var holdsFile: Bool { true }
    public func identity(of descriptor: FileDescriptor) -> FileIdentity? { nil }
    public func recognizes(_ descriptor: FileDescriptor, as identity: FileIdentity) -> Bool? {
        self.identity(of: descriptor).map { $0 == identity }
    }
    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { file.data }
    public func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)? { nil }
    public func freezeObstacle(_ file: FileContext) -> LiveUpdateError? { nil }
    public func unfreeze(_ file: FileContext) {}
    public func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor? { nil }
    public func canFinish(_ file: FileContext) -> Bool { true }
}
