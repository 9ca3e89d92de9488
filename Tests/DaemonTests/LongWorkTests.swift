// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// The estimate whether a request takes long.
@Suite struct LongWorkTests {
    /// A file, and whether preserving it takes long.
    struct Case: Sendable {
        var size: UInt64
        var allocated: UInt64
        var isLong: Bool
    }

    @Test(
        "A file takes long because of its size, its pages, or its possible extents",
        arguments: [
            Case(size: 0, allocated: 0, isLong: false), Case(size: 4096, allocated: 4096, isLong: false),
            // Memory without holes takes long only if there is much of it.
            Case(size: 64 << 20, allocated: 64 << 20, isLong: false),
            Case(size: 256 << 20, allocated: 256 << 20, isLong: false),
            Case(size: 257 << 20, allocated: 257 << 20, isLong: true),
            // A memory file is allocated in whole pages, and its size may be smaller than these pages.
            Case(size: 5000, allocated: 8192, isLong: false),
            // In these files every second page is a hole.
            Case(size: 2 << 20, allocated: 1 << 20, isLong: false),
            Case(size: 6 << 20, allocated: 3 << 20, isLong: true),
            Case(size: 480_000 << 10, allocated: 240_000 << 10, isLong: true),
            // A few pages in a large hole, and a hole in much memory, have few extents.
            Case(size: 1 << 30, allocated: 100 << 12, isLong: false),
            Case(size: 200 << 20, allocated: 199 << 20, isLong: false),
            // The search looks at each hole of huge pages separately.
            Case(size: 4 << 30, allocated: 2 << 20, isLong: false), Case(size: 8 << 30, allocated: 0, isLong: true),
            Case(size: 8 << 40, allocated: 2 << 20, isLong: true), Case(size: .max, allocated: .max, isLong: true),
        ]) func estimate(_ one: Case)
    {
        #expect(LongWork.isLong(size: one.size, allocated: one.allocated) == one.isLong)
    }
}

/// The threads that do long work.
@Suite struct WorkerPoolTests {
    private func finished(_ pool: WorkerPool, _ count: Int) -> [WorkerPool.Finished] {
        var all: [WorkerPool.Finished] = []
        while all.count < count, pool.events.isReadable(within: 10_000) { all += pool.takeFinished() }
        return all
    }

    @Test("The result of each piece of work comes once") func results() throws {
        let pool = try WorkerPool(threads: 3)
        let failing = pool.start(for: 1) { () throws(LiveUpdateError) in
            throw LiveUpdateError(.noSpace, "no", remedy: "none")
        }
        let working = pool.start(for: 2) { () throws(LiveUpdateError) in usleep(2000) }
        let results = finished(pool, 2)
        #expect(results.first { $0.work == failing }?.error?.errno == .noSpace)
        let success = try #require(results.first { $0.work == working })
        #expect(success.error == nil && success.duration >= 2_000_000)
        #expect(pool.takeFinished().isEmpty)
    }

    @Test("A search that takes long can be cancelled, and later work of the thread goes on") func cancelled() throws {
        let pool = try WorkerPool(threads: 2)
        let file = try MemoryFile(size: 1 << 20)
        try file.write([1], at: 4096)
        let search: @Sendable () throws(LiveUpdateError) -> Void = { () throws(LiveUpdateError) in
            do throws(SystemCallError) {
                _ = try dataExtents(of: file.descriptor, size: 1 << 20)
            } catch {
                throw LiveUpdateError(error, "the search")
            }
        }
        let endless = try #require(
            pool.start(for: 1) { () throws(LiveUpdateError) in
                while true { try search() }
            })
        pool.cancel(endless)
        #expect(finished(pool, 1).first?.error?.errno == .canceled)
        #expect(pool.start(for: 1, search) != nil)
        #expect(finished(pool, 1).first?.error == nil)
        pool.cancel(endless)
    }

    @Test("A user has one piece of work at a time, and a thread is always there for root") func users() throws {
        let pool = try WorkerPool(threads: 3)
        let gate = Lock()
        gate.withLock {
            let wait: @Sendable () throws(LiveUpdateError) -> Void = { () throws(LiveUpdateError) in gate.withLock {} }
            #expect(pool.start(for: 1, wait) != nil)
            #expect(!pool.isFree(for: 1))
            #expect(pool.start(for: 1, wait) == nil, "one at a time")
            #expect(pool.start(for: 2, wait) != nil)
            #expect(pool.start(for: 3, wait) == nil, "the last thread is root's")
            #expect(pool.start(for: 0, wait) != nil)
            #expect(pool.start(for: 0, wait) == nil)
        }
        #expect(finished(pool, 3).count == 3)
        #expect(pool.isFree(for: 1) && pool.isFree(for: 3))
    }
}
