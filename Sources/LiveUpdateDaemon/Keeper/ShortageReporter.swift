import Platform
import SystemPackage

/// Tells the orchestrator which descriptors wait in the keeper to be closed, so that no user takes all of them: a close
/// may sleep for as long as a client likes. ``KeeperShortage`` decides.
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

    /// Descriptors that are held, or wait to be closed.
    private var used: Int { vault.count + vault.closing }

    /// Whether a message can be read with its descriptor.
    var canRead: Bool { shortage.canRead(with: used) }

    /// Whether the orchestrator's messages stay in the queue.
    var isReadingPaused: Bool { shortage.isReadingPaused }

    /// Whether ``look(hasHandedOver:)`` must be called again in a moment.
    var isUnderWay: Bool { shortage.isUnderWay }

    /// Begins again with another orchestrator.
    func beginAgain() { shortage.beginAgain() }

    /// Leaves messages in the queue until descriptors are closed: a message that is cut has lost its descriptor.
    func pauseReading() {
        guard !shortage.isReadingPaused else { return }
        shortage.pauseReading(true)
        children.remove(orchestrator.current.link.descriptor)
    }

    /// Looks at the shortage again.
    ///
    /// - Parameter hasHandedOver: as for ``report(_:hasHandedOver:)``.
    func look(hasHandedOver: Bool) {
        guard shortage.isUnderWay else { return }
        report(shortage.reportedUsers, hasHandedOver: hasHandedOver)
        shortage.noteLook()
        guard shortage.isReadingPaused, canRead else { return }
        // Otherwise it is tried again.
        if (try? children.add(orchestrator.current.link.descriptor)) != nil { shortage.pauseReading(false) }
    }

    /// Tells the orchestrator, without waiting, how many descriptors of users wait to be closed, and which clients
    /// there is room for.
    ///
    /// - Parameter hasHandedOver: whether the orchestrator has handed over: then it gets no other message.
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
