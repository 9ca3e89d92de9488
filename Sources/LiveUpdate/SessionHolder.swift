/// A user, by the number that the kernel gives: credentials(7). 0 is root, and everything of an embedded program.
public typealias SessionOwner = UInt32

/// Whose a session is, and by what it is held: for orchestrators that serve several programs. Embedded ones leave it as
/// it is made.
package struct SessionHolder: Hashable, Sendable {
    /// Names are per user.
    package var owner: SessionOwner
    /// The slot of the session's own descriptor. Its last close ends the session. Lost while no client has the session.
    package var slot: DescriptorSlot
    /// Whether it ignores that last close, and is attached again by its name.
    package var isDetached: Bool

    /// Root's, and held by nothing.
    package init(owner: SessionOwner = 0, slot: DescriptorSlot = .lost, isDetached: Bool = false) {
        self.owner = owner
        self.slot = slot
        self.isDetached = isDetached
    }
}

/// A session's name, which is its user's.
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
