// SPDX-License-Identifier: Apache-2.0

/// The numeric ID of a user: credentials(7). 0 is root. An embedded program has only sessions of the user 0.
public typealias SessionOwner = UInt32

/// The user of a session, and the slot that holds it, for orchestrators that serve several programs. Embedded
/// orchestrators use the default.
package struct SessionHolder: Hashable, Sendable {
    /// The user of the session. Each user has session names of its own.
    package var owner: SessionOwner
    /// The slot of the session's own descriptor. The last close of that descriptor ends the session. The slot is
    /// ``DescriptorSlot/lost`` while no client has the session.
    package var slot: DescriptorSlot
    /// Whether the session survives that last close, so that it can be attached again by its name.
    package var isDetached: Bool

    /// Makes a holder. The default is a session of root that nothing holds.
    package init(owner: SessionOwner = 0, slot: DescriptorSlot = .lost, isDetached: Bool = false) {
        self.owner = owner
        self.slot = slot
        self.isDetached = isDetached
    }
}

/// The name of a session, together with its user.
struct OwnedName: Hashable, Sendable {
    private let owner: SessionOwner
    private let name: SessionName

    init(_ owner: SessionOwner, _ name: SessionName) {
        self.owner = owner
        self.name = name
    }
}

extension SessionState {
    var ownedName: OwnedName { OwnedName(holder.owner, name) }
}
