// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import TestSupport
import Testing

@Suite struct LockTests {
    @Test func noUpdateIsLost() {
        let counter = Guarded(0)
        Threads.run(8) { _ in for _ in 0..<2000 { counter.with { $0 += 1 } } }
        #expect(counter.with { $0 } == 16000)
    }

    @Test func errorsPassThrough() {
        struct Fault: Error {}
        let guarded = Guarded(1)
        #expect(throws: Fault.self) { try guarded.with { (_: inout Int) throws(Fault) in throw Fault() } }
        #expect(guarded.with { $0 } == 1, "the lock was let go")
    }

    @Test("Two threads take turns: each waits for the other's move")
    func turns() {
        final class Table: Sendable {
            let lock = Lock()
            nonisolated(unsafe) var moves: [Int] = []
        }
        let table = Table()
        Threads.run(2) { player in
            for _ in 0..<500 {
                table.lock.withLock {
                    table.lock.wait { unsafe table.moves.count % 2 == player }
                    unsafe table.moves.append(player)
                    table.lock.wakeAll()
                }
            }
        }
        #expect(unsafe table.moves == (0..<1000).map { $0 % 2 })
    }

    @Test func threadsAreToldApart() {
        let ids = Guarded<Set<ThreadID>>([])
        let gathered = Guarded(0)
        Threads.run(4) { _ in
            ids.with { _ = $0.insert(.current) }
            // IDs of ended threads are used again, so all four threads must live at once.
            gathered.with { $0 += 1 }
            while gathered.with({ $0 }) < 4 {}
        }
        #expect(ids.with { $0.count } == 4)
        #expect(ThreadID.current == ThreadID.current)
    }
}
