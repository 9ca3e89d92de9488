// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// Tells the orchestrator about descriptors that wait in the keeper to be closed, so that no user takes all of them: a
/// client can make a close sleep for any time. ``KeeperShortage`` decides.
final class ShortageReporter {
    private var shortage = KeeperShortage(DescriptorBudget(limit: DescriptorLimit.now))
    private let vault: DescriptorVault
    private let orchestrator: OrchestratorSupervisor
    private let children: ChildPoller

    init(_ vault: DescriptorVault, _ orchestrator: OrchestratorSupervisor, _ children: ChildPoller) {
        self.vault = vault
        self.orchestrator = orchestrator
        self.children = children
    }

    /// The number of descriptors that are held or wait to be closed.
    private var used: Int { vault.count + vault.closing }

    /// Whether a message can be read with its descriptor.
    var canRead: Bool { shortage.canRead(with: used) }

    /// Whether the orchestrator's messages stay in the queue.
    var isReadingPaused: Bool { shortage.isReadingPaused }

    /// Whether ``look(hasHandedOver:)`` must be called again in a moment.
    var isUnderWay: Bool { shortage.isUnderWay }

    /// Begins again with another orchestrator.
    func beginAgain() { shortage.beginAgain() }

    /// Leaves messages in the queue until descriptors are closed, because a truncated message loses its descriptor.
    func pauseReading() {
        guard !shortage.isReadingPaused else { return }
        shortage.pauseReading(true)
        children.remove(orchestrator.current.link.descriptor)
    }

    /// Looks at the shortage again.
    ///
    /// - Parameter hasHandedOver: see ``report(_:hasHandedOver:)``.
    func look(hasHandedOver: Bool) {
        guard shortage.isUnderWay else { return }
        report(shortage.reportedUsers, hasHandedOver: hasHandedOver)
        shortage.noteLook()
        guard shortage.isReadingPaused, canRead else { return }
        // If this fails, the next look tries again.
        if (try? children.add(orchestrator.current.link.descriptor)) != nil { shortage.pauseReading(false) }
    }

    /// Tells the orchestrator, without waiting, how many descriptors of users wait to be closed, and for which users
    /// there is room. An orchestrator that has handed over gets no other message.
    func report(_ users: some Sequence<UInt32>, hasHandedOver: Bool) {
        if hasHandedOver { return }
        for user in users {
            guard let count = shortage.dueReport(vault.closing(of: user), of: user), tell(.closing(user, count)) else {
                continue
            }
            shortage.noteReport(count, of: user)
        }
        if let room = shortage.dueRoom(with: used), tell(.room(room)) { shortage.noteRoom(room) }
    }

    private func tell(_ message: ControlMessage) -> Bool {
        (try? orchestrator.current.link.send(message, patience: 0)) != nil
    }
}
