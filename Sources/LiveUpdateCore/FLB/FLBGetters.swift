// SPDX-License-Identifier: Apache-2.0

/// The getters of FLBs, for callbacks and for the orchestrator's callers. They are the kernel's
/// `liveupdate_flb_get_incoming` and `…_outgoing`, and also put the reference back.
public struct FLBGetters: Sendable {
    let boot: Boot

    /// Lends the object that the previous boot handed over. The first getter retrieves it. The FLB need not be
    /// registered, and no session need be open.
    ///
    /// - Throws: in this order: ENODATA, when no update brought anything to this boot; ENOENT, when this FLB was not
    ///   handed over; ENODATA, when it is finished; the error of a retrieve that failed, for ever; ENODEV, when its
    ///   owner is going away; EDEADLK, from inside its own callback; and the errors of `body`.
    public func withIncoming<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try boot.flbs.withIncoming(flb, boot, body)
    }

    /// Lends the outgoing object of this boot; nil while no file of the FLB is preserved.
    ///
    /// - Throws: EDEADLK, from inside its own callback; and the errors of `body`.
    public func withOutgoing<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object?) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try boot.flbs.withOutgoing(flb, boot, body)
    }
}
