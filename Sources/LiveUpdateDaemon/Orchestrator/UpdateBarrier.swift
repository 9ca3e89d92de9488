// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore

/// One question to all subscribers, and their answers. A barrier does no I/O.
///
/// 1. A subscriber is *untold* until it gets the notice *freeze soon*. Its socket may have no room for the notice.
/// 2. A subscriber that was *told* says READY, and is then *ready*.
/// 3. A subscriber that closes its session, loses it or unsubscribes leaves.
/// 4. The barrier opens when all subscribers are ready, or at the deadline. It stays open.
struct UpdateBarrier {
    /// The number for READY. Each question has another number.
    let question: UInt64
    /// The time when the barrier opens at the latest, in nanoseconds of CLOCK_MONOTONIC.
    let deadline: UInt64
    private var states: [DescriptorSlot: State]
    /// The subscribers to tell next, and subscribers that have left since.
    private var untold: [DescriptorSlot]
    /// The number of subscribers that are not ready.
    private var missing: Int
    private(set) var isOpen = false

    private enum State {
        case untold, told, ready
    }

    init(question: UInt64, deadline: UInt64, subscribers: [DescriptorSlot]) {
        self.question = question
        self.deadline = deadline
        states = Dictionary(subscribers.map { ($0, .untold) }) { first, _ in first }
        untold = subscribers
        missing = states.count
    }

    /// Whether some subscribers are not told yet.
    var hasUntold: Bool { !isOpen && !untold.isEmpty }

    /// The subscribers that are not ready.
    var notReady: [DescriptorSlot] { states.filter { $0.value != .ready }.keys.sorted { $0.number < $1.number } }

    /// Removes the subscribers to tell next. The caller tells them, and calls ``noteTold(_:)`` or ``noteUntold(_:)``
    /// for each.
    mutating func takeUntold(atMost most: Int) -> [DescriptorSlot] {
        let some = untold.prefix(most)
        untold.removeFirst(some.count)
        return some.filter { states[$0] == .untold }
    }

    /// Notes that a subscriber got the notice.
    mutating func noteTold(_ slot: DescriptorSlot) {
        if states[slot] == .untold { states[slot] = .told }
    }

    /// Notes that a subscriber must be told later.
    mutating func noteUntold(_ slot: DescriptorSlot) {
        if states[slot] == .untold { untold.append(slot) }
    }

    /// Notes that a subscriber is ready. A second call changes nothing.
    ///
    /// - Returns: false when the subscriber was not asked this question, or the barrier is open.
    mutating func noteReady(_ slot: DescriptorSlot, to question: UInt64) -> Bool {
        guard question == self.question, !isOpen, let state = states[slot], state != .untold else { return false }
        if state == .told {
            states[slot] = .ready
            missing -= 1
        }
        return true
    }

    /// Notes that a subscriber has left. The barrier does not wait for it.
    mutating func noteGone(_ slot: DescriptorSlot) {
        guard let state = states.removeValue(forKey: slot), state != .ready else { return }
        missing -= 1
    }

    /// Opens the barrier if all are ready, or at the deadline.
    ///
    /// - Parameter now: the time, in nanoseconds of CLOCK_MONOTONIC.
    /// - Returns: whether it is open.
    mutating func opens(at now: UInt64) -> Bool {
        if missing == 0 || now >= deadline { isOpen = true }
        return isOpen
    }
}
