// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A getter lends an FLB's object while a closure runs. The last finish and the last unpreserve wait for its end.
@Suite struct LoanTests {
    private final class Journal: Sendable {
        private let entries = Guarded<[String]>([])
        func note(_ entry: String) { entries.with { $0.append(entry) } }
        var all: [String] { entries.with { $0 } }
    }

    /// Borrows the object on one thread, and meanwhile ends its last user on another.
    private func overlap(
        _ journal: Journal, borrow: @escaping @Sendable (() -> Void) -> Void, end: @escaping @Sendable () -> Void
    ) {
        let lent = Guarded(false)
        let other = Threads.start {
            borrow {
                journal.note("lent")
                lent.with { $0 = true }
                // This is enough time for the other thread to begin to wait.
                sleep(milliseconds: 50)
                journal.note("given back")
            }
        }
        while !lent.with({ $0 }) { sleep(milliseconds: 1) }
        end()
        journal.note("ended")
        other.join()
    }

    @Test("Unpreserving the last file alone waits, also after a get", arguments: [false, true])
    func leavingWaits(getting: Bool) throws {
        let journal = Journal()
        let flb = TestFLB { hooks in hooks.unpreserve = { _ in journal.note("unpreserve") } }
        let boot = try Machine().boot(.nextBoot, TestHandler(), flb)
        let file = try MemoryFile()
        let session = try boot.createSession("s")
        try session.preserve(file.descriptor, token: 1)
        overlap(journal) { during in
            try? boot.withOutgoing(flb) { _ throws(LiveUpdateError) in during() }
        } end: {
            if getting { _ = try? session.get(token: 1) }
            try? session.unpreserve(token: 1)
        }
        #expect(journal.all == ["lent", "given back", "unpreserve", "ended"])
    }

    @Test func unpreserveWaits() throws {
        let journal = Journal()
        let flb = TestFLB { hooks in hooks.unpreserve = { _ in journal.note("unpreserve") } }
        let boot = try Machine().boot(.nextBoot, TestHandler(), flb)
        let file = try MemoryFile()
        let session = try boot.createSession("s")
        try session.preserve(file.descriptor, token: 1)
        overlap(journal) { during in
            try? boot.withOutgoing(flb) { _ throws(LiveUpdateError) in during() }
        } end: {
            try? session.close()
        }
        #expect(journal.all == ["lent", "given back", "unpreserve", "ended"])
    }

    @Test func finishWaits() throws {
        let machine = try Machine()
        let journal = Journal()
        let flb = TestFLB { hooks in hooks.finish = { _ in journal.note("finish") } }
        let boot = try machine.boot(.nextBoot, TestHandler(), flb)
        let file = try MemoryFile()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let next = try machine.boot(.nextBoot, TestHandler(), flb)
        let session = try next.retrieveSession("s")
        overlap(journal) { during in
            try? next.withIncoming(flb) { _ throws(LiveUpdateError) in during() }
        } end: {
            try? session.finish()
        }
        #expect(journal.all == ["lent", "given back", "finish", "ended"])
        #expect(errno { try next.withIncoming(flb) { _ in } } == .noData)
    }

    @Test("A loan during the update is not counted in the published state")
    func notCounted() throws {
        let machine = try Machine()
        let flb = TestFLB()
        let boot = try machine.boot(.nextBoot, TestHandler(), flb)
        let files = try (0..<3).map { _ in try MemoryFile() }
        let session = try boot.createSession("s")
        for (index, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(index)) }
        overlap(Journal()) { during in
            try? boot.withOutgoing(flb) { _ throws(LiveUpdateError) in during() }
        } end: {
            _ = try? boot.publish()
        }
        let next = try machine.boot(.nextBoot, TestHandler(), flb)
        #expect(try next.status().flbs.map(\.count) == [3])
        try next.retrieveSession("s").finish()
        #expect(flb.count("finish") == 1)
    }

    @Test("While the last user waits for a loan, another getter does not wait, and its loan is waited for, too")
    func gettersBehindTheLastUser() throws {
        let ending = Guarded(false)
        let journal = Journal()
        let flb = TestFLB { hooks in hooks.unpreserve = { _ in journal.note("unpreserve") } }
        let boot = try Machine().boot(.nextBoot, TestHandler(), flb)
        let file = try MemoryFile()
        let session = try boot.createSession("s")
        try session.preserve(file.descriptor, token: 1)
        let late = Threads.start {
            while !ending.with({ $0 }) { sleep(milliseconds: 1) }
            // This is enough time for the close to begin to wait.
            sleep(milliseconds: 20)
            try? boot.withOutgoing(flb) { object throws(LiveUpdateError) in
                sleep(milliseconds: 100)
                journal.note(object == nil ? "late, and it is gone" : "late, and it is there")
            }
        }
        overlap(journal) { during in
            try? boot.withOutgoing(flb) { _ throws(LiveUpdateError) in
                during()
                while !ending.with({ $0 }) { sleep(milliseconds: 1) }
                sleep(milliseconds: 50)
            }
        } end: {
            ending.with { $0 = true }
            try? session.close()
        }
        late.join()
        let entries = journal.all.filter { $0 == "unpreserve" || $0.hasPrefix("late") }
        // The getter nearly always wins the race. Otherwise it runs after the end.
        #expect(
            entries == ["late, and it is there", "unpreserve"] || entries == ["unpreserve", "late, and it is gone"])
    }
}
