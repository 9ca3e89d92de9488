// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// The search for the pages of a hugetlb file: its result, and its system calls.
@Suite(.disabled(if: isThreadSanitized, "ThreadSanitizer leaves no room for a mapping of terabytes"))
struct HugePageScanTests {
    private static let page = PageSize.huge2M

    /// A file with some pages, and the result and cost of a search.
    private struct Searched {
        var pages: [UInt64] = []
        var calls = 0

        init(_ file: FileDescriptor, size: UInt64) throws {
            var failure: (any Error)?
            var found: [HugePage] = []
            (_, calls) = FaultInjector.failing(call: 0) {
                do {
                    found = try HugePageMap.pages(of: file, size: size, pageSize: page)
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
            pages = found.map { $0.index / 512 }
        }
    }

    private func file(_ size: UInt64, pages: [UInt64] = []) throws -> OwnedDescriptor {
        let file = try makeMemoryFile(named: "searched", size: size, pageSize: Self.page)
        for page in pages { try file.borrowed.allocate(offset: page << 21, length: 1 << 21) }
        return file
    }

    private static let sizes: [UInt64] = [8 << 40, 16 << 40]

    @Test("A file without a page is not mapped", arguments: sizes) func empty(size: UInt64) throws {
        let file = try file(size)
        let found = try Searched(file.borrowed, size: size)
        #expect(found.pages == [])
        #expect(found.calls <= 3)
    }

    @Test("One page at the start, at the end or in the middle", .requiresHugePages(1), arguments: sizes)
    func onePage(size: UInt64) throws {
        let last = (size >> 21) - 1
        for page in [0, last, last / 2 + 1, last / 4 + 1] {
            let file = try file(size, pages: [page])
            let found = try Searched(file.borrowed, size: size)
            #expect(found.pages == [page])
            #expect(found.calls <= 20, "page \(page)")
        }
    }

    @Test("A sealed file, also through a read-only descriptor", .requiresHugePages(1)) func sealed() throws {
        let last: UInt64 = (8 << 19) - 1
        let file = try file(8 << 40, pages: [last])
        try file.borrowed.addSeals([.seal, .shrink, .grow, .write])
        let reading = try file.borrowed.reopenedForReading()
        for descriptor in [file.borrowed, reading.borrowed] {
            let found = try Searched(descriptor, size: 8 << 40)
            #expect(found.pages == [last])
            #expect(found.calls <= 20)
        }
    }

    @Test("A run in the middle is followed to both of its ends", .requiresHugePages(12)) func runs() throws {
        let middle: UInt64 = 1 << 21
        let pages = [UInt64](middle - 5...middle + 5) + [middle * 2 - 1]
        let file = try file(8 << 40, pages: pages)
        let found = try Searched(file.borrowed, size: 8 << 40)
        #expect(found.pages == pages)
        #expect(found.calls <= 60)
    }

    @Test(
        "A hole that was punched and filled again is found", .requiresHugePages(3),
        arguments: [1 << 30, 8 << 40] as [UInt64])
    func refilled(size: UInt64) throws {
        let last = (size >> 21) - 1
        let file = try file(size, pages: [0, last])
        for page in [0, last] { try file.borrowed.punchHole(offset: page << 21, length: 1 << 21) }
        #expect(try Searched(file.borrowed, size: size).pages == [])
        do {
            let mapping = try Mapping(
                of: file.borrowed, offset: last << 21, length: 1 << 21, .shared(writable: true))
            unsafe mapping.bytes[0] = 1
        }
        try file.borrowed.allocate(offset: 0, length: 1 << 21)
        #expect(try Searched(file.borrowed, size: size).pages == [0, last])
    }

    @Test("Any pages of files around the limit of an exact search", .requiresHugePages(24)) func random() throws {
        var generator = SeededGenerator(seed: 12)
        for round in 0..<20 {
            let count = HugePageScan.exactLimit + UInt64(round % 3) - 1
            var pages: Set<UInt64> = []
            while pages.count < 24 {
                let first = UInt64.random(in: 0..<count, using: &generator)
                let run = UInt64.random(in: 1...8, using: &generator)
                pages.formUnion((first..<min(first + run, count)).prefix(24 - pages.count))
            }
            let file = try file(count << 21, pages: pages.sorted())
            #expect(try Searched(file.borrowed, size: count << 21).pages == pages.sorted())
        }
    }

    @Test("A step of a search looks at no more places than it may", .requiresHugePages(16)) func steps() throws {
        let pages = [UInt64](5000..<5016)
        let file = try file(1 << 35, pages: pages)
        var scan = try HugePageScan(of: file.borrowed, size: 1 << 35, pageSize: Self.page)
        var steps = 0
        var isComplete = false
        while !isComplete {
            let (_, calls) = FaultInjector.failing(call: 0) { isComplete = (try? scan.step(4)) ?? true }
            // Four places are searched, and the frames of the pages there are read.
            #expect(calls <= 8)
            steps += 1
        }
        let found = scan.pages
        #expect(found.map { $0.index / 512 } == pages)
        #expect(steps > 4)
    }

    @Test("A size that no memory can have is an error", arguments: [1 << 62, 1 << 63, .max] as [UInt64])
    func impossible(size: UInt64) throws {
        let file = try file(1 << 21)
        #expect(try Searched(file.borrowed, size: size).pages == [], "st_blocks says that there is none")
        #expect(throws: SystemCallError.self) {
            try Mapping(of: file.borrowed, length: size, .privateView).address
        }
    }
}
