// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Huge pages that one process has reserved, and another one gives back.
@Suite(.requiresPoolRights()) struct HugePageLoanTests {
    private let path = FilePath(
        FileManager.default.temporaryDirectory.appendingPathComponent("loan-\(UUID().uuidString)").path)

    private var exists: Bool { unsafe access(path.string, F_OK) == 0 }
    private var note: String { (try? String(contentsOfFile: path.string, encoding: .utf8)) ?? "" }

    private func write(_ text: String) throws {
        try text.write(toFile: path.string, atomically: false, encoding: .utf8)
    }

    private func persistent() throws -> UInt64 { try HugePagePool(.huge2M).persistent }

    @Test func itIsNotedAndGivenBack() throws {
        let taken = try EmptyPool()
        let before = try persistent()
        let loan = try HugePageLoan.take(3, of: .huge2M, notingIn: path)
        #expect(loan.count >= 3)
        #expect(try persistent() == before + loan.count)
        #expect(note.hasPrefix("9 pages \(loan.count) 0 0\n"))
        try loan.giveBack()
        #expect(try persistent() == before)
        #expect(!exists)
        withExtendedLifetime(taken) {}
    }

    @Test func overcommit() throws {
        let before = try HugePagePool(.huge2M).overcommit
        let loan = try HugePageLoan.take(2, of: .huge2M, .overcommit, notingIn: path)
        #expect(try HugePagePool(.huge2M).overcommit == before + 2)
        try loan.giveBack()
        #expect(try HugePagePool(.huge2M).overcommit == before)
        #expect(!exists)
    }

    @Test func whatCannotBeTakenLeavesNothing() throws {
        let before = try persistent()
        #expect(throws: SystemCallError("write", .noMemory)) {
            _ = try HugePageLoan.take(1 << 30, of: .huge2M, notingIn: path).count
        }
        #expect(try persistent() == before)
        #expect(!exists)
        try write("")
        #expect(throws: SystemCallError("open", .fileExists)) {
            _ = try HugePageLoan.take(1, of: .huge2M, notingIn: path).count
        }
        try removeFile(path)
    }

    @Test(
        "After a death before, after or during a step the remaining pages are given back, and no more",
        arguments: [
            // The held pages, the pool before and after the step as differences from a pool with five more pages, and
            // the pages that are due.
            (held: 5, before: 0, after: 0, due: 5),
            (held: 0, before: 0, after: 5, due: 0), (held: 0, before: -5, after: 0, due: 5),
            (held: 0, before: -3, after: 2, due: 3), (held: 5, before: 0, after: -5, due: 5),
            (held: 5, before: 5, after: 0, due: 0), (held: 5, before: 2, after: -3, due: 3),
            // Other processes have changed the pool since.
            (held: 0, before: -5, after: -1, due: 4), (held: 0, before: 1, after: 6, due: 0),
        ])
    func settling(_ step: (held: Int, before: Int, after: Int, due: Int)) throws {
        let before = try persistent()
        try HugePagePool.setPersistent(before + 5, of: .huge2M)
        defer { try? HugePagePool.setPersistent(before, of: .huge2M) }
        func number(_ difference: Int) -> Int { step.before == step.after ? 0 : Int(before) + 5 + difference }
        // A pool without pages cannot have fewer.
        guard step.before == step.after || min(number(step.before), number(step.after)) >= 0 else { return }
        try write("9 pages \(step.held) \(number(step.before)) \(number(step.after))\n")
        #expect(try HugePageLoan.settle(path) == UInt64(step.due))
        #expect(try persistent() == before + 5 - UInt64(step.due))
        #expect(!exists)
    }

    @Test func nothingIsToBeSettled() throws {
        #expect(try HugePageLoan.settle(path) == 0)
        try write("")
        #expect(try HugePageLoan.settle(path) == 0)
        #expect(!exists, "killed before it changed anything")
    }

    @Test(arguments: ["nonsense", "9 pages 1 2", "9 cake 1 0 0", "9 pages -1 0 0", "60 pages 1 0 0", "9 pages 1e9 0 0"])
    func whatIsNoNoteIsLeft(_ text: String) throws {
        let before = try persistent()
        try write(text)
        #expect(throws: SystemCallError("read", .invalidArgument)) { try HugePageLoan.settle(path) }
        #expect(try persistent() == before)
        #expect(exists)
        try removeFile(path)
    }

    @Test("Settling waits for the end of the process that has reserved pages") func waiting() async throws {
        let taken = try EmptyPool()
        let before = try persistent()
        let loan = try HugePageLoan.take(2, of: .huge2M, notingIn: path)
        let settled = Guarded<UInt64?>(nil)
        let path = path
        let thread = Threads.start {
            let count = try? HugePageLoan.settle(path)
            settled.with { $0 = count }
        }
        sleep(milliseconds: 50)
        #expect(settled.with { $0 } == nil)
        try loan.giveBack()
        thread.join()
        #expect(settled.with { $0 } == 0, "it was given back already")
        #expect(try persistent() == before)
        withExtendedLifetime(taken) {}
    }
}
