// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
package import SystemPackage

/// Decides which boot goes on when the carrier (luod's keeper, or the old process of a hand-over) dies in the middle of
/// an update. The baton is the one message in the queue of a socket that both boots have, and only one of them can take
/// it.
///
/// The old boot takes the baton before it goes on alone. The next boot takes the baton when it is told to go.
package final class CommitBaton: Sendable {
    private let queue: OwnedDescriptor

    /// Makes the baton of a descriptor that the other boot has sent.
    package init(_ queue: consuming OwnedDescriptor) { self.queue = queue }

    /// Makes a baton that no boot has taken.
    ///
    /// - Throws: EMFILE.
    package static func make() throws(SystemCallError) -> CommitBaton {
        let (reading, writing) = try MessageSocket.pair()
        let baton = CommitBaton(OwnedDescriptor(taking: reading))
        let end = OwnedDescriptor(taking: writing)
        try end.borrowed.send([1])
        return baton
    }

    /// The descriptor to send to the next boot. The baton still owns it.
    package var descriptor: FileDescriptor { queue.borrowed }

    /// Tries to take the baton.
    ///
    /// - Returns: false when the other boot has taken it.
    package func take() -> Bool {
        let message = try? queue.borrowed.receive(.now)
        return message != nil
    }
}
