// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Holes stay holes. The recorded extents are exact, and an update fills no hole.
@Suite struct MemfdExtentsTests {
    struct Pattern: CustomTestStringConvertible, Sendable {
        let testDescription: String
        /// The size in pages of 4 KiB.
        let size: UInt64
        let pages: [UInt64]

        init(_ name: String, size: UInt64, _ pages: [UInt64]) {
            testDescription = name
            self.size = size
            self.pages = pages
        }
    }

    static let patterns = [
        Pattern("size 0", size: 0, []),
        Pattern("only a hole", size: 16, []),
        Pattern("dense", size: 64, Array(0..<64)),
        Pattern("sparse", size: 1000, [0, 17, 18, 19, 500, 999]),
        Pattern("1 TiB with three pages", size: 1 << 28, [0, 1 << 27, (1 << 28) - 1]),
        Pattern("every second page", size: 2000, (0..<1000).map { $0 * 2 }),
    ]

    /// Checks that an update does not change the file, and that the record has its extents.
    private func check(_ file: TestFile, _ expected: [Extent]) throws {
        let machine = try Machine()
        let blocks = file.blocks
        #expect(try file.extents == expected)
        let carried = try machine.carry(file) { boot in
            let record = try MemfdRecord(at: boot.file(1).data, in: machine.storage())
            #expect(try record.extents(in: machine.storage()) == expected)
            #expect(file.blocks == blocks)
        }
        let record = try MemfdRecord(at: carried.boot.file(1).data, in: machine.storage())
        #expect(try record.extents(in: machine.storage()) == expected)
        #expect(carried.file.blocks == blocks)
        #expect(try carried.file.extents == expected)
    }

    @Test(arguments: patterns) func exact(_ pattern: Pattern) throws {
        let file = try TestFile(pages: pattern.pages, of: pattern.size)
        try check(file, extents(ofPages: pattern.pages))
        for page in pattern.pages { #expect(try file.word(page: page, .base) == TestFile.word(of: page)) }
    }

    @Test func random() throws {
        var generator = SeededGenerator(seed: announcedSeed("extents"))
        for _ in 0..<Scale.count(20) {
            let size = UInt64.random(in: 1...600, using: &generator)
            let density = Double.random(in: 0...1, using: &generator)
            let pages = (0..<size).filter { _ in Double.random(in: 0..<1, using: &generator) < density }
            try check(try TestFile(pages: pages, of: size), extents(ofPages: pages))
        }
    }

    @Test func theLastExtentEndsWithTheFile() throws {
        let file = try TestFile(size: 4097)
        _ = try file.descriptor.writeAll(toAbsoluteOffset: 4096, [1])
        try check(file, [Extent(offset: 4096, length: 1)])
    }

    @Test("Pages that were only allocated read as zeros: they are recorded as holes and stay allocated")
    func allocatedOnly() throws {
        let file = try TestFile(size: 64 * 4096)
        try file.descriptor.allocate(offset: 0, length: 64 * 4096)
        #expect(file.blocks == 64 * 8)
        try check(file, [])
    }

    @Test func whatIsWrittenAndPunchedAfterPreserveTravels() throws {
        let file = try TestFile(pages: [0, 1, 2, 3], of: 16)
        let machine = try Machine()
        let carried = try machine.carry(file) { _ in
            try file.fill(page: 9, .base)
            try file.descriptor.punchHole(offset: 4096, length: 2 * 4096)
        }
        #expect(try carried.file.extents == extents(ofPages: [0, 3, 9]))
        #expect(try carried.file.word(page: 9, .base) == TestFile.word(of: 9))
        let record = try MemfdRecord(at: carried.boot.file(1).data, in: machine.storage())
        #expect(try record.extents(in: machine.storage()) == extents(ofPages: [0, 1, 2, 3]), "as it was preserved")
    }
}
