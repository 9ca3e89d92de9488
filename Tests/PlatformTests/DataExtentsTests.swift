// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// The pages of a sparse file that have data.
@Suite struct DataExtentsTests {
    private let page = PageSize.base.bytes

    private func extents(_ file: MemoryFile, size: UInt64) throws -> [Extent] {
        let view = try file.descriptor.reopenedForReading()
        return try dataExtents(of: view.borrowed, size: size)
    }

    @Test(
        arguments: [
            ([], 8), ([0], 8), ([7], 8), ([0, 1, 2, 5], 8), ([1, 3, 5, 7], 9), ([0, 1, 2, 3, 4, 5, 6, 7], 8), ([], 0),
        ] as [([UInt64], UInt64)])
    func pagesThatWereWrittenAreData(pages: [UInt64], of count: UInt64) throws {
        let file = try MemoryFile(size: count * page)
        for index in pages { try file.write([1], at: index * page + 5) }
        let found = try extents(file, size: count * page)
        #expect(found.flatMap { extent in (extent.offset / page)..<(extent.end / page) } == pages)
        #expect(zip(found, found.dropFirst()).allSatisfy { $0.end < $1.offset }, "extents that touch are one")
    }

    @Test func theLastExtentEndsWithTheFile() throws {
        let file = try MemoryFile(size: page + 10)
        try file.write([1], at: page + 9)
        #expect(try extents(file, size: page + 10) == [Extent(offset: page, length: 10)])
    }

    @Test("Pages that were only allocated, or punched, read as zeros and are holes")
    func allocatedIsNoData() throws {
        let file = try MemoryFile(size: 4 * page)
        try file.descriptor.allocate(offset: 0, length: 2 * page)
        try file.write([1], at: 3 * page)
        try file.write([1], at: 2 * page)
        try file.descriptor.punchHole(offset: 2 * page, length: page)
        #expect(try extents(file, size: 4 * page) == [Extent(offset: 3 * page, length: page)])
    }

    @Test func asksWithoutMovingTheFilesOffset() throws {
        let file = try MemoryFile(bytes: [1, 2, 3])
        try file.descriptor.setPosition(2)
        _ = try extents(file, size: 3)
        #expect(try file.descriptor.position() == 2)
    }

    @Test func asksWithoutFillingAHole() throws {
        let file = try MemoryFile(size: 64 * page)
        _ = try extents(file, size: 64 * page)
        #expect(try extents(file, size: 64 * page) == [])
    }

    @Test func closedDescriptorIsAnError() {
        #expect(throws: SystemCallError("lseek", .badFileDescriptor)) {
            try dataExtents(of: FileDescriptor(rawValue: -1), size: 1)
        }
    }
}
