// SPDX-License-Identifier: Apache-2.0
public import LiveUpdatePlatform

/// A file that is counted on an FLB, as its handler recorded it.
public struct FLBUser: Hashable, Sendable {
    /// The compatible string of its handler.
    public let compatible: String
    /// The handle of its handler.
    public let data: UInt64
    /// The file's identity. A file that several users preserved is listed once for each user, with the same identity.
    public let identity: FileIdentity
}

/// The arguments of an FLB callback: the kernel's `struct liveupdate_flb_op_args`, except for `obj`, which is a typed
/// argument here.
public struct FLBContext: Sendable {
    /// The direction of the state that the call is about.
    public let direction: Direction
    /// The handle that preserve returned; 0 in preserve itself.
    public let data: UInt64
    /// The arena. Records that preserve and serialize store in it belong to the FLB.
    public let storage: Storage
    /// The getters of other FLBs.
    public let flbs: FLBGetters
    /// In serialize: the files of the FLB that travel, in no particular order.
    public let users: [FLBUser]
}

/// Shared state that several files need, a File-Lifecycle-Bound object: the kernel's `struct liveupdate_flb` and its
/// `ops`.
///
/// 1. The FLB is linked to handlers: ``Orchestrator/register(_:on:)``.
/// 2. The first preserved file of such a handler preserves the FLB: ``preserve(_:)``. Later files are only counted.
/// 3. When an update is published, the FLB names its data for the next boot: ``serialize(_:_:)``.
/// 4. In the next boot, the first getter retrieves the FLB, ``retrieve(_:)``, and the last file that was counted on it
///    finishes it, ``finish(_:_:)``.
///
/// Unhappy paths: when the last file is unpreserved, so is the FLB. An FLB that no getter has retrieved is retrieved
/// only for its finish, and dropped if that retrieve fails. After a crash in the same boot, ``resume(_:)`` makes the
/// live object again.
///
/// The callbacks of an FLB never overlap. A getter of the FLB inside one of them fails with EDEADLK.
public protocol FileLifecycleBound<Object>: AnyObject, Sendable {
    /// The live object, which the getters lend.
    associatedtype Object: Sendable

    /// Names the format of the data that travels: 1 to 47 bytes. Raise its number when the format changes.
    var compatible: String { get }
    /// The provider of this FLB; nil when it cannot go away.
    var owner: Owner? { get }

    /// Saves the shared state. Returns a handle to it, which is any number, and the live object.
    func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: Object)
    /// Undoes preserve.
    func unpreserve(_ object: Object, _ context: FLBContext)
    /// Makes the live object from the data that the previous boot saved. A failure is remembered for ever.
    func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> Object
    /// Finishes the FLB: the data that the previous boot saved is not needed any more.
    func finish(_ object: Object, _ context: FLBContext)
    /// Makes the live object again after a crash, in the boot that had it. Only the handle is left.
    func resume(_ context: FLBContext) throws(LiveUpdateError) -> Object
    /// The handle for the next boot, derived from the files that travel. Optional: the handle that preserve returned.
    func serialize(_ object: Object, _ context: FLBContext) throws(LiveUpdateError) -> UInt64
}

extension FileLifecycleBound {
    public var owner: Owner? { nil }
    public func serialize(_ object: Object, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 { context.data }
}
