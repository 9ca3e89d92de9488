import Platform
import SystemPackage
import TestSupport
import Testing

/// What a file costs, counted: so that what makes it slower fails here, without a clock. Of system calls the numbers are
/// exact, and a request that learns to do with fewer lowers them; of allocations they are bounds, because the compiler
/// has a say in them.
@Suite struct CostTests {
    /// In processes of their own: what else runs here may move the highest descriptor.
    @Test func systemCallsOfMemfds() async {
        await #expect(processExitsWith: .success) {
            let life = try CountedLife(try (0..<4).map { _ in try TestFile(pages: [0], of: 2) })
            // Identified twice, before and after it is kept; its kind asked, and its seals; kept; described: its size,
            // its offset, its seals; opened once more, two seeks for each run of data and one behind the last; closed.
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
                // The first one also has the pools read. One for each page's frame; and what does not grow: identified
                // twice, asked by two handlers, of which the first sees that it can have seals, but is not its kind;
                // kept; its size, offset, page size and mode; mapped, with a userfaultfd that is made, told and asked;
                // the page map opened; both closed.
                #expect(try CountedLife([first, second]).preserve[1].systemCalls == 20 + Int(pages))
            }
        }
    }

    @Test(.enabled(if: Cost.countsAllocations, "a sanitizer replaces malloc"))
    func allocationsOfMemfds() async {
        await #expect(processExitsWith: .success) {
            let each = try CountedLife.each { try TestFile(pages: [0], of: 1) }
            let life = try CountedLife(try (0..<20).map { _ in try TestFile(pages: [0], of: 1) })
            // The median: now and then a table grows. Programs that are not optimized, as these tests, allocate more.
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
        // 16 bytes for each page, in arrays of 4096 bytes, with one more for the list of arrays.
        let few = try CountedLife([try TestFile(pages: [0], of: 1, pageSize: .huge2M)])
        let many = try CountedLife([try TestFile(pages: [UInt64](0..<40), of: 40, pageSize: .huge2M)])
        #expect(few.arenaBytes <= 2 * 4096 + 512, "\(few.arenaBytes)")
        #expect(many.arenaBytes - few.arenaBytes == 0, "39 pages more are in the same array")
    }
}
