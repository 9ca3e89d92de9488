// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Counts the cost of a file, so that a slower request fails here without a clock. The numbers of system calls are
/// exact: a request that needs fewer lowers them. The numbers of allocations are bounds, because they depend on the
/// compiler.
@Suite struct CostTests {
    /// Each test runs in its own process, because other tests may move the highest descriptor.
    @Test func systemCallsOfMemfds() async {
        await #expect(processExitsWith: .success) {
            let life = try CountedLife(try (0..<4).map { _ in try TestFile(pages: [0], of: 2) })
            // The calls: identify the file twice, before and after it is held; get its kind and its seals; hold it; get
            // size, offset and seals; open it again, seek twice for each run of data and once after the last run; close
            // it.
            #expect(life.preserve.map(\.systemCalls) == [14, 14, 14, 14])
            #expect(life.retrieve.map(\.systemCalls) == [2, 2, 2, 2], "identified, and a descriptor of it made")
            #expect(life.finish.systemCalls == 4, "each kept descriptor closed")
        }
    }

    @Test func systemCallsOfOneMoreMemfdInAnUpdate() async {
        await #expect(processExitsWith: .success) {
            let each = try CountedLife.each { try TestFile(pages: [0], of: 1) }
            #expect(each.publish.systemCalls == 2, "its size and its offset")
            #expect(each.boot.systemCalls == 1, "whether it is still that file")
            #expect(each.finish.systemCalls == 1)
        }
    }

    @Test(.requiresHugePages(12)) func systemCallsOfHugeMemfds() async {
        await #expect(processExitsWith: .success) {
            for pages in [1, 8] as [UInt64] {
                let first = try TestFile(pages: [0], of: 1, pageSize: .huge2M)
                let second = try TestFile(pages: [UInt64](0..<pages), of: pages, pageSize: .huge2M)
                // The first file also makes the handler read the pools. The second file needs one call for each page's
                // frame, and a fixed number: identify the file twice; let two handlers look at it, of which the first
                // finds seals but another kind; hold it; get size, offset, page size and mode; map it with a
                // userfaultfd, which takes three calls; open the page map; close both.
                #expect(try CountedLife([first, second]).preserve[1].systemCalls == 20 + Int(pages))
            }
        }
    }

    @Test(.enabled(if: Cost.countsAllocations, "a sanitizer replaces malloc"))
    func allocationsOfMemfds() async {
        await #expect(processExitsWith: .success) {
            let each = try CountedLife.each { try TestFile(pages: [0], of: 1) }
            let life = try CountedLife(try (0..<20).map { _ in try TestFile(pages: [0], of: 1) })
            // The median is used, because now and then a table grows. These tests are not optimized and allocate more
            // than programs that are.
            let preserve = life.preserve.map(\.allocations).sorted()[10]
            let retrieve = life.retrieve.map(\.allocations).sorted()[10]
            #expect(preserve <= 140, "\(preserve)")
            #expect(retrieve <= 37, "\(retrieve)")
            #expect(each.publish.allocations <= 62, "\(each.publish.allocations)")
            #expect(each.boot.allocations <= 170, "\(each.boot.allocations)")
            #expect(each.finish.allocations <= 85, "\(each.finish.allocations)")
        }
    }

    @Test func arenaBytesOfMemfds() throws {
        let each = try CountedLife.each { try TestFile(pages: [0], of: 1) }
        #expect(each.arenaBytes == 128, "a record and its extents, each rounded up to 64 bytes")
    }

    @Test(.requiresHugePages(42)) func arenaBytesOfHugePages() throws {
        // Each page takes 16 bytes, in arrays of 4096 bytes. The list of arrays takes one more array.
        let few = try CountedLife([try TestFile(pages: [0], of: 1, pageSize: .huge2M)])
        let many = try CountedLife([try TestFile(pages: [UInt64](0..<40), of: 40, pageSize: .huge2M)])
        #expect(few.arenaBytes <= 2 * 4096 + 512, "\(few.arenaBytes)")
        #expect(many.arenaBytes - few.arenaBytes == 0, "39 pages more are in the same array")
    }
}
