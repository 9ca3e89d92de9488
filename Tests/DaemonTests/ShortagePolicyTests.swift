// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdateDaemon

/// Decisions of a keeper that has sleeping closes.
@Suite struct ShortagePolicyTests {
    @Test(
        "The orchestrator holds fewer descriptors than the keeper, and the rest has room for a burst",
        arguments: [512, 1024, 65536, 1 << 20])
    func budget(limit: Int) {
        let budget = DescriptorBudget(limit: limit)
        let burst = min(512, limit / 4)
        #expect(budget.orchestrators <= limit - 64 - burst)
        #expect(
            budget.room(with: budget.orchestrators) == .forAll && budget.canRead(with: budget.orchestrators + burst / 2)
        )
    }

    @Test(
        "Users are refused first, then root; at last nothing is read while descriptors are left",
        arguments: [64, 128, 256, 65536])
    func order(limit: Int) {
        let budget = DescriptorBudget(limit: limit)
        let rooms = (0...limit).map { budget.room(with: $0) }
        #expect(rooms.map(\.rawValue) == rooms.map(\.rawValue).sorted())
        #expect(rooms[limit / 4] == .forAll && rooms.contains(.forRoot) && rooms[limit] == .none)
        let last = (0...limit).last { budget.canRead(with: $0) } ?? 0
        #expect(rooms[last] == .none && limit - last > 20)
        #expect(budget.orchestrators >= Settings.fewestDescriptors)
    }

    @Test("The reserve is only for root") func admission() {
        for user in [0, 1000] as [UInt32] {
            #expect(KeeperRoom.forAll.admits(user) && !KeeperRoom.none.admits(user))
            #expect(KeeperRoom.forRoot.admits(user) == (user == 0))
        }
    }

    @Test("A user with many closes is reported, again when their number changes much, and at the end") func reports() {
        var reports = ClosingReports()
        var said: [Int] = []
        for pending in [1, 63, 64, 65, 79, 80, 200, 210, 150, 33, 31, 40, 63, 0, 64] {
            guard let count = reports.due(pending, of: 5) else { continue }
            said.append(count)
            reports.note(count, of: 5)
        }
        #expect(said == [64, 80, 200, 150, 33, 0, 64])
        #expect(reports.users == [5] && reports.due(63, of: 6) == nil)
        reports.beginAgain()
        #expect(reports.users == [5] && reports.due(64, of: 5) == 64 && reports.due(1, of: 5) == 0)
    }

    @Test("A shortage is checked until the orchestrator knows of its end") func shortage() {
        let budget = DescriptorBudget(limit: 1024)
        var shortage = KeeperShortage(budget)
        #expect(!shortage.isUnderWay && shortage.dueRoom(with: 10) == nil && shortage.canRead(with: 10))
        #expect(shortage.dueRoom(with: 1024) == KeeperRoom.none && !shortage.canRead(with: 1024))
        #expect(!shortage.isUnderWay, "only a message that was sent counts")
        shortage.noteRoom(.none)
        #expect(shortage.isUnderWay && shortage.dueRoom(with: 1024) == nil && shortage.dueRoom(with: 10) == .forAll)
        shortage.noteRoom(.forAll)
        #expect(!shortage.isUnderWay)
        shortage.noteReport(64, of: 5)
        #expect(shortage.isUnderWay && shortage.reportedUsers == [5])
        shortage.noteReport(0, of: 5)
        shortage.pauseReading(true)
        #expect(shortage.isUnderWay && shortage.isReadingPaused)
    }

    @Test("The next orchestrator gets all reports, and its messages are read") func nextOrchestrator() {
        var shortage = KeeperShortage(DescriptorBudget(limit: 1024))
        shortage.noteRoom(.none)
        shortage.noteReport(64, of: 5)
        shortage.pauseReading(true)
        shortage.beginAgain()
        #expect(shortage.isUnderWay && !shortage.isReadingPaused)
        #expect(shortage.dueRoom(with: 1024) == KeeperRoom.none && shortage.dueReport(64, of: 5) == 64)
        var calm = KeeperShortage(DescriptorBudget(limit: 1024))
        calm.beginAgain()
        #expect(calm.isUnderWay, "one look is due")
        calm.noteLook()
        #expect(!calm.isUnderWay)
    }

    @Test("The orchestrator knows the closes of its keeper, and forgets them with it") func noted() throws {
        let store = DescriptorMirror(try Closer(threads: 2))
        store.noteKeeperClosing(70, of: 5)
        #expect(store.closingInKeeper(of: 5) == 70 && store.closingInKeeper(of: 6) == 0)
        store.noteKeeperClosing(0, of: 5)
        #expect(store.closingInKeeper(of: 5) == 0)
        store.noteKeeperClosing(70, of: 5)
        store.use(nil)
        #expect(store.closingInKeeper(of: 5) == 0)
    }

    @Test("Both messages are read as they were sent") func messages() {
        for message in [.closing(5, 70), .room(.forRoot)] as [ControlMessage] {
            #expect(ControlMessage(message.bytes) == message)
        }
        #expect(ControlMessage([21, 0, 0, 0, 9]) == nil)
    }
}
