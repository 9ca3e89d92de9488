public import Platform

/// A file that an FLB serves, as its handler recorded it.
public struct FLBUser: Hashable, Sendable {
    /// The compatible string of its handler.
    public let compatible: String
    /// The handle of its handler.
    public let data: UInt64
    /// The file's identity. A file that several users preserved is listed once for each user, with the same identity.
    public let identity: FileIdentity
}

/// What an FLB callback gets: the kernel's `struct liveupdate_flb_op_args`, whose `obj` is a typed argument here.
public struct FLBContext: Sendable {
    /// Which of its two states the call is about.
    public let direction: Direction
    /// The handle that preserve returned; 0 in preserve itself.
    public let data: UInt64
    /// The arena. In preserve and serialize, what is stored belongs to the FLB.
    public let storage: Storage
    /// The getters of other FLBs.
    public let flbs: FLBGetters
    /// In serialize: the files that travel with it, in no particular order.
    public let users: [FLBUser]
}

/// Shared state that several files need, a File-Lifecycle-Bound object: the kernel's `struct liveupdate_flb` and its
/// `ops`.
///
/// 1. It is linked to handlers with ``Orchestrator/register(_:on:)``.
/// 2. The first file of such a handler that is preserved preserves it: ``preserve(_:)``; later ones are only counted.
/// 3. When an update is published it says what travels: ``serialize(_:_:)``.
/// 4. In the next boot it is retrieved when somebody first asks for it, ``retrieve(_:)``, and finished with the last
///    file that was counted on it, ``finish(_:_:)``.
///
/// Unhappy paths: unpreserved with the last file that is; retrieved only to be finished when no getter asked for it;
/// given up when even that fails. After a crash in the same boot its live object is made again with ``resume(_:)``.
///
/// Its callbacks never overlap. Asking for it inside one of them is EDEADLK.
public protocol FileLifecycleBound<Object>: AnyObject, Sendable {
    /// The live object, lent by the getters.
    associatedtype Object: Sendable

    /// Names the format of what travels: 1 to 47 bytes. Raise its number when it changes.
    var compatible: String { get }
    /// Who provides this FLB; nil when it cannot go away.
    var owner: Owner? { get }

    /// Saves the shared state: a handle to it, any number, and the live object.
    func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: Object)
    /// Undoes preserve.
    func unpreserve(_ object: Object, _ context: FLBContext)
    /// Makes the live object from what the previous boot saved. A failure is remembered for ever.
    func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> Object
    /// Done with what the previous boot saved.
    func finish(_ object: Object, _ context: FLBContext)
    /// Makes the live object again, in the boot that had it: after a crash, from the handle alone.
    func resume(_ context: FLBContext) throws(LiveUpdateError) -> Object
    /// What the next boot gets, derived from the files that travel. Optional: the handle as it is.
    func serialize(_ object: Object, _ context: FLBContext) throws(LiveUpdateError) -> UInt64
}

extension FileLifecycleBound {
    public var owner: Owner? { nil }
    public func serialize(_ object: Object, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 { context.data }
}
