// SPDX-License-Identifier: Apache-2.0

/// The numeric ID of a user: credentials(7). 0 is root. An embedded program has only sessions of the user 0.
public typealias SessionUser = UInt32

/// The user of a session, and the slot that holds it, for orchestrators that serve several programs. Embedded
/// orchestrators use the default.
package struct SessionHolder: Hashable, Sendable {
    /// The user of the session. Each user has session names of its own.
    package var user: SessionUser
    /// The slot of the session's own descriptor. The last close of that descriptor ends the session. The slot is
    /// ``DescriptorSlot/lost`` while no client has the session.
    package var slot: DescriptorSlot
    /// Whether the session survives that last close, so that it can be attached again by its name.
    package var isDetached: Bool

    /// Makes a holder. The default is a session of root that nothing holds.
    package init(user: SessionUser = 0, slot: DescriptorSlot = .lost, isDetached: Bool = false) {
        self.user = user
        self.slot = slot
        self.isDetached = isDetached
    }
}

/// The name of a session, together with its user.
struct OwnedName: Hashable, Sendable {
    private let user: SessionUser
    private let name: SessionName

    init(_ user: SessionUser, _ name: SessionName) {
        self.user = user
        self.name = name
    }
}

extension SessionState {
    var ownedName: OwnedName { OwnedName(holder.user, name) }
}
