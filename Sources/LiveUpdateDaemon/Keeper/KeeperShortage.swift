// SPDX-License-Identifier: Apache-2.0

/// Decides what the keeper reports to an orchestrator about a shortage of descriptors, and when the orchestrator's
/// messages stay in the queue. It does no I/O.
struct KeeperShortage: Sendable {
    private let budget: DescriptorBudget
    /// The room that was last reported to the orchestrator.
    private var told = KeeperRoom.forAll
    private var reports = ClosingReports()
    /// Whether the orchestrator's messages stay in the queue.
    private(set) var isReadingPaused = false
    /// Whether the orchestrator has just begun and has had no report yet.
    private var isNew = false

    init(_ budget: DescriptorBudget) { self.budget = budget }

    /// Whether the shortage must be looked at again in a moment.
    var isUnderWay: Bool { isNew || isReadingPaused || told != .forAll || !reports.users.isEmpty }

    /// Whether a message can be read with its descriptor. `used` is the number of descriptors that are held or wait to
    /// be closed.
    func canRead(with used: Int) -> Bool { budget.canRead(with: used) }

    /// Begins again with another orchestrator, which has had no report yet.
    mutating func beginAgain() {
        told = .forAll
        reports.beginAgain()
        isReadingPaused = false
        isNew = true
    }

    /// Notes that the shortage was looked at.
    mutating func noteLook() { isNew = false }

    /// Notes whether messages stay in the queue from now on.
    mutating func pauseReading(_ isPaused: Bool) { isReadingPaused = isPaused }

    /// The users with a last report that is not 0.
    var reportedUsers: [UInt32] { reports.users }

    /// The count to report for a user now; nil when the last report is close enough.
    func dueReport(_ pending: Int, of user: UInt32) -> Int? { reports.due(pending, of: user) }

    /// Notes that a count was reported to the orchestrator.
    mutating func noteReport(_ count: Int, of user: UInt32) { reports.note(count, of: user) }

    /// The room to report to the orchestrator; nil if the last report is still right.
    func dueRoom(with used: Int) -> KeeperRoom? {
        let room = budget.room(with: used)
        return room == told ? nil : room
    }

    /// Notes that a room was reported to the orchestrator.
    mutating func noteRoom(_ room: KeeperRoom) { told = room }
}
