// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The provider of a handler or an FLB, which may go away: a plug-in, a device. The kernel's module owner.
///
/// While an owner is going away, its handlers cannot be registered, and its FLBs cannot be preserved or retrieved.
/// Handlers and FLBs that are in use stay in use.
public final class Owner: Sendable {
    private let goingAway = Guarded(false)

    /// The name of the owner in errors.
    public let name: String

    /// Makes an owner that is not going away.
    public init(name: String) { self.name = name }

    /// Whether the owner is going away.
    public var isGoingAway: Bool { goingAway.with { $0 } }

    /// Sets whether the owner is going away.
    public func setGoingAway(_ going: Bool) { goingAway.with { $0 = going } }
}
