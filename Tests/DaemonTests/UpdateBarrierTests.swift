// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdateProtocol
import Testing

@testable import LiveUpdateDaemon

/// The question to all subscribers, and their notices.
@Suite struct UpdateBarrierTests {
    /// A barrier about question 7, with the deadline 100. Subscribers are numbers here.
    private final class Fixture {
        private var barrier: UpdateBarrier

        init(_ numbers: [Int64], areTold: Bool = true) {
            barrier = UpdateBarrier(question: 7, deadline: 100, subscribers: numbers.map { DescriptorSlot($0) })
            if areTold { takeUntold(atMost: 100).forEach(noteTold) }
        }

        func opens(at now: UInt64) -> Bool { barrier.opens(at: now) }
        func acceptsReady(_ number: Int64, to question: UInt64 = 7) -> Bool {
            barrier.noteReady(DescriptorSlot(number), to: question)
        }
        func noteGone(_ number: Int64) { barrier.noteGone(DescriptorSlot(number)) }
        func noteTold(_ number: Int64) { barrier.noteTold(DescriptorSlot(number)) }
        func noteUntold(_ number: Int64) { barrier.noteUntold(DescriptorSlot(number)) }
        func takeUntold(atMost most: Int) -> [Int64] { barrier.takeUntold(atMost: most).map(\.number) }
        var notReady: [Int64] { barrier.notReady.map(\.number) }
        var hasUntold: Bool { barrier.hasUntold }
    }

    @Test("A barrier opens when the last subscriber is ready, and not before") func ready() {
        let barrier = Fixture([1, 2])
        #expect(!barrier.opens(at: 0))
        #expect(barrier.acceptsReady(1))
        #expect(barrier.acceptsReady(1), "a second time")
        #expect(!barrier.opens(at: 99))
        #expect(barrier.notReady == [2])
        #expect(barrier.acceptsReady(2))
        #expect(barrier.opens(at: 99))
        #expect(barrier.notReady.isEmpty)
    }

    @Test("A barrier opens at the deadline, stays open, and names the subscribers that are not ready") func deadline() {
        let barrier = Fixture([3, 1, 2])
        #expect(barrier.acceptsReady(2))
        let opened = [99, 100, 0].map { barrier.opens(at: $0) }
        #expect(opened == [false, true, true])
        #expect(barrier.notReady == [1, 3])
        #expect(!barrier.acceptsReady(1), "too late")
        #expect(barrier.notReady == [1, 3])
    }

    @Test("An answer counts only from a subscriber that was told, and only to this question") func strangers() {
        let barrier = Fixture([1], areTold: false)
        #expect(!barrier.acceptsReady(1), "it was not told")
        #expect(barrier.takeUntold(atMost: 1) == [1])
        barrier.noteTold(1)
        #expect(!barrier.acceptsReady(1, to: 6))
        #expect(!barrier.acceptsReady(2))
        #expect(!barrier.opens(at: 0))
    }

    @Test("A barrier does not wait for a subscriber that leaves, told or not, and ready or not") func gone() {
        let barrier = Fixture([1, 2, 3], areTold: false)
        barrier.noteGone(1)
        barrier.noteGone(1)
        #expect(barrier.takeUntold(atMost: 9) == [2, 3])
        for number in [Int64(2), 3] { barrier.noteTold(number) }
        #expect(barrier.acceptsReady(2))
        barrier.noteGone(2)
        #expect(!barrier.opens(at: 0))
        #expect(barrier.notReady == [3])
        barrier.noteGone(3)
        #expect(barrier.opens(at: 0))
        #expect(barrier.notReady.isEmpty)
    }

    @Test("Subscribers without room for the notice are told after the others, until the barrier opens") func untold() {
        let barrier = Fixture([1, 2, 3], areTold: false)
        #expect(barrier.takeUntold(atMost: 2) == [1, 2])
        barrier.noteUntold(1)
        barrier.noteTold(2)
        #expect(barrier.hasUntold)
        #expect(barrier.takeUntold(atMost: 2) == [3, 1])
        barrier.noteUntold(3)
        #expect(barrier.opens(at: 100))
        #expect(!barrier.hasUntold)
        #expect(barrier.notReady == [1, 2, 3])
    }

    @Test("A barrier without subscribers is open") func nobody() {
        let barrier = Fixture([])
        #expect(barrier.opens(at: 0))
    }

    @Test("A refusal lists the subscribers that fit, counts the rest, and ends with the remedy") func refusal() {
        let few = UpdateCost.notReady(["user 7, session \"s\": not ready"], within: 2_000_000_000)
        #expect(few.cause == .notReady)
        #expect(
            few.reason.hasPrefix("1 client was not ready for the update within 2000 ms:\nuser 7, session \"s\": not"))
        let many = UpdateCost.notReady((0..<1000).map { "user \($0): not ready" }, within: 1)
        #expect(many.reason.hasPrefix("1000 clients were not ready") && many.reason.utf8.count <= UpdateCost.room)
        #expect(many.reason.contains("more: the log of luod names them\nremedy: wait longer"))
    }

    // MARK: Notices

    @Test("A notice has the bytes of the document, and is read again") func bytes() {
        let notice = Notice(.freezeSoon, question: 0x0102, value: 5000)
        #expect(notice.bytes == [1, 0, 0, 0, 24, 0, 0, 0, 0x88, 0x13, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0])
        #expect(Notice(notice.bytes) == notice)
        let over = Notice(.over, value: 1)
        #expect(Notice(over.bytes)?.kind == .over && Notice(over.bytes)?.value == 1)
    }

    @Test("A longer notice of an unknown kind is a notice, and no answer is one") func otherMessages() {
        var later = Notice(.over, value: 1).bytes + [0, 0, 0, 0, 0, 0, 0, 0]
        later[0] = 9
        later[4] = 32
        #expect(Notice(later)?.number == 9 && Notice(later)?.kind == nil)
        #expect(Notice([UInt8](later.dropLast())) == nil && Notice([]) == nil)
        for call in Call.allCases {
            let body = [UInt8](repeating: 0, count: call.length)
            for result in [0, -22, Int32.min] {
                #expect(Notice(Response(result: result, body: body, tag: 1).bytes) == nil)
            }
        }
        let request = Request(.getName, body: NameCall("").body, tag: 7, wantsReason: true)
        #expect(ReplyDecoder(request).meaning(Notice(.over, value: 7).bytes) == .notice(Notice(.over, value: 7)))
    }
}
