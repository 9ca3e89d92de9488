import Platform

/// Who provides a handler or an FLB, and may be going away: a plug-in, a device. The kernel's module owner.
///
/// Something whose owner is going away is not taken into use any more; what is in use stays.
public final class Owner: Sendable {
    private let goingAway = Guarded(false)

    /// What errors call it.
    public let name: String

    /// An owner that stays.
    public init(name: String) { self.name = name }

    /// Whether it is on its way out.
    public var isGoingAway: Bool { goingAway.with { $0 } }

    /// Says that it is going away, or that it stays after all.
    public func setGoingAway(_ going: Bool) { goingAway.with { $0 = going } }
}
