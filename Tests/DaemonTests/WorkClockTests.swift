// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import Testing

@testable import LiveUpdateDaemon

/// The time that is charged for pieces of work.
@Suite struct WorkClockTests {
    private let before = ThreadUse(processor: 5_000_000, sleeps: 7)

    private func charge(_ duration: UInt64, after charged: UInt64, _ now: ThreadUse) -> UInt64 {
        WorkClock.charge(duration, after: charged, since: before, now: { now })
    }

    @Test("A short piece of work costs its duration, and the use of the thread is not read") func short() {
        let charge = WorkClock.charge(WorkClock.long, after: 0, since: before) {
            Issue.record("the use of the thread is not looked at")
            return before
        }
        #expect(charge == WorkClock.long)
    }

    @Test("A piece of work that other programs kept waiting costs its processor time") func preempted() {
        let now = ThreadUse(processor: 5_400_000, sleeps: 7)
        #expect(charge(9_000_000, after: 0, now) == 400_000)
        #expect(charge(9_000_000, after: 300_000, now) == 100_000, "earlier pieces are charged already")
        #expect(charge(9_000_000, after: 800_000, now) == 0, "an earlier piece was charged too much")
    }

    @Test("A piece of work costs no more than its duration") func atMost() {
        #expect(charge(400_000, after: 0, ThreadUse(processor: 9_000_000, sleeps: 7)) == 400_000)
    }

    @Test("A piece of work that made the thread sleep costs its duration") func slept() {
        #expect(charge(9_000_000, after: 0, ThreadUse(processor: 5_000_100, sleeps: 8)) == 9_000_000)
    }

    @Test("Without a measurement at the beginning, the duration is charged") func alone() {
        #expect(WorkClock.charge(9_000_000, after: 0, since: nil, now: { before }) == 9_000_000)
    }

    @Test("If getrusage(2) fails, the duration is charged") func untold() {
        #expect(WorkClock.charge(9_000_000, after: 0, since: before, now: { nil }) == 9_000_000)
    }
}
