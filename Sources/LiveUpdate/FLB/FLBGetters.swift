/// The getters of FLBs, as callbacks get them: the kernel's `liveupdate_flb_get_incoming` and `…_outgoing`, which also
/// puts the reference back.
public struct FLBGetters: Sendable {
    let boot: Boot

    /// Lends the object that the previous boot handed over, retrieving it now if no getter had. It needs no
    /// registration and no open session.
    ///
    /// - Throws: in this order: ENODATA, when no update brought anything to this boot; ENOENT, when this FLB is not
    ///   among what came; ENODATA, when it is finished; the error of a retrieve that failed, for ever; ENODEV, when its
    ///   owner is going away; EDEADLK, from inside its own callback; and what `body` throws.
    public func withIncoming<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try boot.flbs.withIncoming(flb, boot, body)
    }

    /// Lends the object of this boot: nil while nothing is preserved.
    ///
    /// - Throws: EDEADLK, from inside its own callback; and what `body` throws.
    public func withOutgoing<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object?) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try boot.flbs.withOutgoing(flb, boot, body)
    }
}
