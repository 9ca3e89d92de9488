// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// Tests that enlarge and reduce real pools. Each test leaves the pool as it found it.
@Suite(.requiresPoolRights()) struct HugePageRequestTests {
    private let ledger = PoolLedger()

    private func perform(_ request: HugePageRequest) throws(HugePageRefusal) -> HugePageChange {
        let change = try request.perform()
        ledger.note(request.action, change.count)
        return change
    }

    private func pool() throws -> HugePagePool { try HugePagePool.steady(.huge2M) }

    /// Waits for the pool, because a process that is just starting has a copy of each descriptor for a moment, and the
    /// file's pages with it.
    private func expectAsBefore(_ before: HugePagePool) throws {
        for _ in 0..<2000 where try pool() != before { usleep(5000) }
        #expect(try pool() == before)
    }

    private func request(_ action: HugePageRequest.Action, _ count: UInt64, node: Int? = nil) -> HugePageRequest {
        HugePageRequest(action, count, of: .huge2M, node: node)
    }

    private func refusal<Value>(_ body: () throws(HugePageRefusal) -> Value) -> HugePageRefusal? {
        do throws(HugePageRefusal) {
            _ = try body()
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [nil, 0]) func whatWasReservedIsReleased(node: Int?) throws {
        let before = try pool()
        let made = try perform(request(.reserve, 3, node: node))
        #expect(made.count == 3)
        #expect(made.after.persistent == made.before.persistent + 3)
        #expect(made.after.free == made.before.free + 3)
        #expect(try pool().persistent == before.persistent + 3)
        let gone = try perform(request(.release, 3, node: node))
        #expect(gone.count == 3)
        #expect(gone.before == made.after)
        #expect(gone.after == made.before)
        #expect(try pool() == before)
    }

    @Test func aPlanChangesNothing() throws {
        let before = try pool()
        let plan = try request(.reserve, 3).plan()
        #expect(plan.count == 3)
        #expect(plan.pool == before)
        #expect(try pool() == before)
    }

    @Test func manyAtOnceLoseNothing() throws {
        let before = try pool()
        let changes = Guarded<[HugePageChange?]>([])
        Threads.run(8) { number in
            let change = try? perform(request(.reserve, 1))
            changes.with { $0.append(change) }
        }
        #expect(changes.with { $0.map { $0?.count } } == Array(repeating: 1, count: 8))
        // Each change began with the number at which another one ended.
        let starts = changes.with { Set($0.compactMap { $0?.before.persistent }) }
        #expect(starts.count == 8)
        #expect(try pool().persistent == before.persistent + 8)
        Threads.run(8) { number in _ = try? perform(request(.release, 1)) }
        #expect(try pool() == before)
    }

    // MARK: A kernel that gives fewer

    /// A request that gets `fewer` pages less than it asks for, as from a kernel with fragmented memory.
    private func stingy(_ fewer: UInt64, _ request: HugePageRequest) -> HugePageRequest {
        var request = request
        request.write = { (count, size, node) throws(SystemCallError) in
            try HugePagePool.setPersistent(count - fewer, of: size, node: node)
        }
        return request
    }

    @Test(arguments: [1, 3, 5]) func fewerAreGivenBack(_ fewer: UInt64) throws {
        let before = try pool()
        #expect(
            refusal { () throws(HugePageRefusal) in try perform(stingy(fewer, request(.reserve, 5))) }
                == .fewer(5 - fewer))
        #expect(try pool() == before)
    }

    @Test func fewerAreKeptWhenTheyWillDo() throws {
        let before = try pool()
        var request = stingy(2, request(.reserve, 5))
        request.acceptsFewer = true
        let change = try perform(request)
        #expect(change.count == 3)
        #expect(try pool().persistent == before.persistent + 3)
        _ = try perform(self.request(.release, 3))
        #expect(try pool() == before)
    }

    @Test func noneWillNotDo() throws {
        let before = try pool()
        var request = stingy(5, request(.reserve, 5))
        request.acceptsFewer = true
        #expect(refusal { () throws(HugePageRefusal) in try request.perform() } == .fewer(0))
        #expect(try pool() == before)
    }

    @Test(
        "If a system call fails, the request works or changes nothing", arguments: HugePageRequest.Action.allCases
    )
    func faults(_ action: HugePageRequest.Action) throws {
        _ = try perform(request(.reserve, 4))
        let before = try pool()
        var reached = true
        var number = 1
        while reached {
            let (error, calls) = FaultInjector.failing(call: number, with: .ioError) {
                refusal { () throws(HugePageRefusal) in try perform(request(action, 4)) }
            }
            reached = calls >= number
            if let error {
                guard case .failed(let call) = error, call.errno == .ioError else {
                    Issue.record("call \(number): \(error)")
                    break
                }
            } else {
                _ = try perform(request(action == .reserve ? .release : .reserve, 4))
            }
            try #require(try pool() == before, "call \(number)")
            number += 1
        }
        #expect(number > 20)
        _ = try perform(request(.release, 4))
    }

    // MARK: Pages in use

    @Test func pagesInUseAreReleasedOnlyWhenTheyMay() throws {
        let empty = try EmptyPool()
        let before = try pool()
        _ = try perform(request(.reserve, 3))
        do {
            let file = try makeMemoryFile(named: "in use", size: 2 * PageSize.huge2M.bytes, pageSize: .huge2M)
            try file.borrowed.allocate(offset: 0, length: 2 * PageSize.huge2M.bytes)
            #expect(refusal { () throws(HugePageRefusal) in try request(.release, 3).plan() } == .inUse(2))
            #expect(refusal { () throws(HugePageRefusal) in try perform(request(.release, 3)) } == .inUse(2))
            #expect(try pool().persistent == before.persistent + 3)

            var forced = request(.release, 3)
            forced.acceptsSurplus = true
            #expect(try forced.plan().becomingSurplus == 2)
            let change = try perform(forced)
            #expect(change.count == 3)
            #expect(change.after.persistent == before.persistent)
            #expect(change.after.surplus == before.surplus + 2)

            // These pages become persistent again before new ones are made.
            let plan = try request(.reserve, 3).plan()
            #expect(plan.adopted == 2)
            let again = try perform(request(.reserve, 3))
            #expect(again.after.surplus == before.surplus)
            #expect(again.after.persistent == before.persistent + 3)
            #expect(again.after.free == before.free + 1)
            _ = try perform(forced)
            _ = try FileStatus(of: file.borrowed)
        }
        try expectAsBefore(before)  // surplus pages vanish when they are freed
        withExtendedLifetime(empty) {}
    }

    @Test func promisedPagesAreInUse() throws {
        let empty = try EmptyPool()
        let before = try pool()
        _ = try perform(request(.reserve, 2))
        do {
            // A shared mapping reserves its pages.
            let file = try makeMemoryFile(named: "promised", size: PageSize.huge2M.bytes, pageSize: .huge2M)
            let number = file.borrowed.rawValue
            let address = unsafe mmap(nil, Int(PageSize.huge2M.bytes), PROT_READ, MAP_SHARED, number, 0)
            defer { unsafe munmap(address, Int(PageSize.huge2M.bytes)) }
            #expect(try pool().reserved == before.reserved + 1)
            #expect(refusal { () throws(HugePageRefusal) in try request(.release, 2).plan() } == .inUse(1))
        }
        _ = try perform(request(.release, 2))
        try expectAsBefore(before)
        withExtendedLifetime(empty) {}
    }

    // MARK: Impossible requests

    @Test func whatIsNotPossibleIsSaidBefore() throws {
        let before = try pool()
        func expect(_ wanted: HugePageRefusal?, _ request: HugePageRequest) {
            #expect(refusal { () throws(HugePageRefusal) in try request.plan() } == wanted)
            #expect(refusal { () throws(HugePageRefusal) in try request.perform() } == wanted)
        }
        let sizes = try HugePagePool.all().map(\.pageSize)
        expect(.noPool(sizes), HugePageRequest(.reserve, 1, of: PageSize(order: 1)))
        expect(.noNode(before.nodes.map(\.id)), request(.reserve, 1, node: 999))
        expect(.notPersistent(before.persistent), request(.release, before.persistent + 1))
        expect(.notPersistent(before.persistent), request(.release, .max))
        guard
            case .noMemory(let possible)? = refusal({ () throws(HugePageRefusal) in try request(.reserve, .max).plan() }
            )
        else { throw Unexpected() }
        #expect(possible < 1 << 40)
        #expect(try pool() == before)
    }

    private struct Unexpected: Error {}

    @Test func onANodeThereIsNotMoreThanOnAll() throws {
        let node = try #require(try pool().nodes.first)
        let total = try MachineNodes.own.availableMemory(onNode: node.id)
        #expect(total > 0)
        #expect(throws: SystemCallError.self) { try MachineNodes.own.availableMemory(onNode: 999) }
    }
}

/// Signals that arrive while the kernel works.
@Suite struct InterruptHoldTests {
    @Test("A reserve that was interrupted before its last page gives back its pages", .requiresPoolRights())
    func aReserveIsTakenBack() async {
        await #expect(processExitsWith: .success) {
            let before = try HugePagePool.steady(.huge2M)
            var request = HugePageRequest(.reserve, 5, of: .huge2M, acceptsFewer: true)
            request.write = { (count, size, node) throws(SystemCallError) in
                try HugePagePool.setPersistent(count - 2, of: size, node: node)
                _ = Self.send(SIGINT)
            }
            #expect(throws: HugePageRefusal.interrupted(signal: SIGINT)) { try request.perform() }
            #expect(try HugePagePool.steady(.huge2M) == before)
        }
    }

    /// Sends a signal to this thread. The threads that run tests have blocked all signals.
    private static func send(_ signal: CInt) -> CInt {
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe pthread_sigmask(SIG_SETMASK, &none, nil)
        return raise(signal)
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func aSignalIsHeld(_ signal: CInt) async {
        await #expect(processExitsWith: .success) { [signal] in
            let (value, caught) = InterruptHold.holding { Self.send(signal) }
            #expect(value == 0)
            #expect(caught == signal)
            #expect(InterruptHold.holding { 7 }.signal == nil)
        }
    }

    @Test func afterwardsItEndsTheProcess() async {
        await #expect(processExitsWith: .signal(SIGTERM)) {
            _ = InterruptHold.holding {}
            _ = Self.send(SIGTERM)
        }
    }

    @Test("An ignored signal, as under nohup, stays ignored") func ignored() async {
        await #expect(processExitsWith: .success) {
            _ = signal(SIGHUP, SIG_IGN)
            #expect(InterruptHold.holding { Self.send(SIGHUP) }.signal == nil)
        }
    }
}
