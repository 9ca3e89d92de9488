// SPDX-License-Identifier: Apache-2.0
public import LiveUpdatePlatform
public import SystemPackage

/// Whether a handler takes a file.
public enum Acceptance: Hashable, Sendable {
    /// The handler takes the file.
    case accepted
    /// The handler refuses the file. The reason is shown to the client if no other handler takes the file.
    case refused(because: String)
}

/// The fate of a kind of file when the kernel is replaced.
public enum KernelFate: String, Sendable {
    /// The file stays where it is, and ``FileHandler/reopen(_:)`` finds it under the next kernel.
    case stays
    /// The kernel's own Live Update Orchestrator (LUO) can carry the file. Without it the file ends with the kernel.
    case needsLiveUpdate = "needs-luo"
    /// The file ends with the kernel.
    case ends

    /// Whether the file reaches the next kernel. `carryingMemory` tells whether the kernel's Live Update Orchestrator
    /// takes part.
    package func survives(carryingMemory: Bool) -> Bool {
        switch self {
        case .stays: true
        case .needsLiveUpdate: carryingMemory
        case .ends: false
        }
    }
}

/// The result of a handler's retrieve.
public enum RetrievedFile: Hashable, Sendable {
    /// The held descriptor is the file.
    case kept
    /// The handler has opened the file again. The core takes this descriptor over and closes it.
    case opened(FileDescriptor)
}

/// The arguments of a file callback: the kernel's `struct liveupdate_file_op_args`. There is no private data. A handler
/// finds everything that it needs in ``data`` and in its stored records, also after a crash.
public struct FileContext: Sendable {
    /// The name of the file's session.
    public let session: SessionName
    /// The file's number in the session.
    public let token: UInt64
    /// The identity of the file: device and inode, or the identity that its handler gives instead.
    public let identity: FileIdentity
    /// The held descriptor. The callback uses it and does not close it. Nil when it was lost with its last holder, and
    /// ``FileHandler/reopen(_:)`` did not find the file again.
    public let descriptor: FileDescriptor?
    /// The handle that preserve returned: the kernel's `serialized_data`. 0 in preserve itself.
    public let data: UInt64
    /// Whether the file was retrieved in this boot.
    public let retrieveStatus: RetrieveStatus
    /// The arena. Records that preserve and freeze store in it belong to the file.
    public let storage: Storage
    /// The getters of FLBs. No request is allowed from inside a callback.
    public let flbs: FLBGetters
}

/// A kind of file that can be preserved: the kernel's `struct liveupdate_file_handler` and its `ops`.
///
/// 1. A file is offered to the handlers in registration order: ``canPreserve(_:)``.
/// 2. The first handler that accepts the file preserves it: ``preserve(_:)``. The program goes on using the file.
/// 3. An update freezes the file: ``freeze(_:)``. In the next boot, the handler with the same ``compatible`` string
///    retrieves the file, ``retrieve(_:)``, and finishes it, ``finish(_:)``.
///
/// Unhappy paths: a session that is closed before an update unpreserves its files, newest first. An update that fails
/// unfreezes them. If the process dies in a callback, that callback is called again after the crash, so a callback must
/// work when it runs twice.
///
/// Callbacks run on the thread of the request, and may overlap for files of different sessions. A request from inside a
/// callback is refused with EDEADLK, except for the getters of FLBs.
public protocol FileHandler: AnyObject, Sendable {
    /// Names the format of the records: 1 to 47 bytes. Raise its number when the format changes.
    var compatible: String { get }
    /// The provider of this handler; nil when it cannot go away.
    var owner: Owner? { get }

    /// Whether the handler is offered only files for which the client names its ``compatible`` string. A handler that
    /// accepts every file says true. Optional: false.
    var isOnlyOnRequest: Bool { get }

    /// Whether a user can preserve a file of this kind only once at a time: the second time is EBUSY. Optional: true.
    /// A handler that holds a descriptor and knows nothing of its file says false: then the same file can be preserved
    /// again, by this handler or by another.
    var holdsFile: Bool { get }

    /// The fate of a file of this kind when the kernel is replaced. Optional: ``KernelFate/ends``.
    var kernelFate: KernelFate { get }

    /// Whether the descriptor is a file of this kind. This must change nothing.
    func canPreserve(_ descriptor: FileDescriptor) -> Acceptance
    /// The identity of a file that device and inode do not identify: the kernel's `get_id`. Optional: nil when they do.
    func identity(of descriptor: FileDescriptor) -> FileIdentity?
    /// Whether a held descriptor is still the file with this identity. The file may have been preserved by another
    /// process. Optional: nil when device and inode decide.
    func recognizes(_ descriptor: FileDescriptor, as identity: FileIdentity) -> Bool?
    /// Saves the file's state and returns a handle to it, which can be any number.
    func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64
    /// Undoes preserve.
    func unpreserve(_ file: FileContext)
    /// The last chance to save, inside the blackout. Optional. Returns the handle that travels: the same as before,
    /// unless a record had to be stored again.
    func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64
    /// Looks at the file ahead of a freeze that comes soon, so that there is less to do in the blackout. Optional.
    ///
    /// - Returns: a function that tells, at the time of the freeze, whether ``freeze(_:)`` would change nothing and
    ///   return the same handle. If so, ``freeze(_:)`` is not called. Nil when it must be called.
    func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)?
    /// The error with which ``freeze(_:)`` would fail now; nil when the handler knows of none. Optional. An update
    /// calls this ahead of the freeze, to name all files that cannot be frozen. This must change nothing.
    func freezeObstacle(_ file: FileContext) -> LiveUpdateError?
    /// Undoes freeze, also if ``freezeCheck(_:)`` made the freeze unnecessary. Optional.
    func unfreeze(_ file: FileContext)
    /// Opens the file again when its descriptor was lost with the last process that held it. The core takes the
    /// descriptor over. Optional: nil for a kind of file that exists only while a descriptor of it is open. An error
    /// goes to the caller that needs the file, and is not remembered: the next request calls this again.
    func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor?
    /// Retrieves the file. A failure is remembered for ever.
    func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile
    /// Whether the file can be finished now. Optional: true.
    func canFinish(_ file: FileContext) -> Bool
    /// Finishes the file, retrieved or not.
    func finish(_ file: FileContext)
}

extension FileHandler {
    public var owner: Owner? { nil }
    public var isOnlyOnRequest: Bool { false }
    public var holdsFile: Bool { true }
    public var kernelFate: KernelFate { .ends }
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
