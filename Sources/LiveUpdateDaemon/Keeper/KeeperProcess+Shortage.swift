import Platform
import SystemPackage

/// What the keeper knows of its own shortage of descriptors.
struct KeeperShortage {
    let budget = DescriptorBudget(limit: DescriptorLimit.now)
    /// What the orchestrator was told.
    var told = KeeperRoom.forAll
    var reports = ClosingReports()
    /// Whether the orchestrator's messages stay in the queue.
    var isReadingPaused = false

    /// Whether the orchestrator has just begun, and was told nothing.
    private var isNew = false

    /// Whether it is to be looked at again in a moment.
    var isUnderWay: Bool { isNew || isReadingPaused || told != .forAll || !reports.users.isEmpty }

    /// Another orchestrator is to be told all of it.
    mutating func beginAgain() {
        told = .forAll
        reports.beginAgain()
        isReadingPaused = false
        isNew = true
    }

    /// The orchestrator was told.
    mutating func noteLook() { isNew = false }
}

/// Closes that sleep keep descriptors in the keeper. The orchestrator is told of them, so that no user takes all.
extension KeeperProcess {
    /// Descriptors that are kept, or wait to be closed.
    private var used: Int { table.count + table.closing }

    /// Whether a message can be read with its descriptor.
    var canRead: Bool { shortage.budget.canRead(with: used) }

    /// Leaves messages in the queue until descriptors are closed: a message that is cut has lost its descriptor.
    func pauseReading() {
        guard !shortage.isReadingPaused else { return }
        shortage.isReadingPaused = true
        children.remove(current.link.descriptor)
    }

    /// Looks at the shortage again.
    func lookAtShortage() {
        guard shortage.isUnderWay else { return }
        reportClosing(of: shortage.reports.users)
        shortage.noteLook()
        guard shortage.isReadingPaused, canRead else { return }
        // Otherwise it is tried again.
        if (try? children.add(current.link.descriptor)) != nil { shortage.isReadingPaused = false }
    }

    /// Tells the orchestrator, without waiting, how many descriptors of users wait to be closed, and which
    /// clients there is room for.
    func reportClosing(of users: some Sequence<UInt32>) {
        // One that has handed over is told nothing else.
        if updates.isTakingOver { return }
        for user in users {
            guard let count = shortage.reports.due(table.closing(of: user), of: user), tell(.closing(user, count))
            else {
                continue
            }
            shortage.reports.note(count, of: user)
        }
        let room = shortage.budget.room(with: used)
        if room != shortage.told, tell(.room(room)) { shortage.told = room }
    }

    private func tell(_ message: ControlMessage) -> Bool {
        do throws(SystemCallError) {
            try current.link.send(message, patience: 0)
            return true
        } catch {
            return false
        }
    }

    /// Reads all that a dead orchestrator has said. When there is no room for some time, descriptors of the keeper's own have to
    /// do: a user can have a close sleep for ever.
    func readRest() throws {
        try readCurrent()
        let deadline = milliseconds() + UInt64(StateDirectory.patience)
        while shortage.isReadingPaused, !canRead, milliseconds() < deadline { waitForRetry(10) }
        if shortage.isReadingPaused { try readCurrent(inReserve: true) }
        // What is left in the queue would be closed with it by this thread, and a close may sleep.
        if let copy = try? current.link.descriptor.duplicated() { table.close(copy.release(), of: .max) }
    }
}
