// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The properties of a hugetlb memory file that an update keeps, without allocating a page for it.
@Suite struct HugeMemfdTests {
    private let machine: Machine

    init() throws { machine = try Machine() }

    private func pages(_ boot: StandardBoot) throws -> [HugePage] {
        let storage = try machine.storage()
        return try HugeMemfdRecord(at: try boot.file(1).data, in: storage).pages(in: storage)
    }

    /// Preserves the file, updates, retrieves it, and checks each property that must not change.
    private func check(_ file: TestFile, holding existing: [UInt64]) throws {
        let frames = geteuid() == 0 ? try file.frames(ofHugePages: existing) : existing.map { _ in 0 }
        let expected = zip(existing, frames).map { HugePage(index: $0 * 512, frame: $1) }
        let blocks = file.blocks
        let carried = try machine.carry(file) { boot in
            let recorded = try pages(boot)
            #expect(recorded == expected)
        }
        #expect(try pages(carried.boot) == expected)
        #expect(carried.file.blocks == blocks)
        #expect(try carried.file.status.identity == file.status.identity)
        let present = try HugePageMap.pages(
            of: carried.file.descriptor, size: try carried.file.status.size, pageSize: .huge2M)
        #expect(present == expected)
        try carried.session.finish()
    }

    @Test(.requiresHugePages(32)) func exactMapsOfRandomPatterns() throws {
        var generator = SeededGenerator(seed: announcedSeed("huge pages"))
        for _ in 0..<Scale.count(10) {
            let size = UInt64.random(in: 1...32, using: &generator)
            let density = Double.random(in: 0...1, using: &generator)
            let existing = (0..<size).filter { _ in Double.random(in: 0..<1, using: &generator) < density }
            try HugeMemfdTests().check(try TestFile(pages: existing, of: size, pageSize: .huge2M), holding: existing)
        }
    }

    @Test("Holes that SEEK_DATA and st_blocks do not see: punched pages and refilled ones", .requiresHugePages(8))
    func punched() throws {
        let file = try TestFile(pages: [0, 1, 2, 3], of: 8, pageSize: .huge2M)
        try file.descriptor.punchHole(offset: 1 << 21, length: 2 << 21)
        try file.fill(page: 2, .huge2M)
        try check(file, holding: [0, 2, 3])
    }

    @Test(.requiresHugePages(2)) func farPagesOfALargeFile() throws {
        let far: UInt64 = (1 << 15) - 1
        try check(try TestFile(pages: [0, far], of: far + 1, pageSize: .huge2M), holding: [0, far])
    }

    @Test(.requiresHugePages(1)) func sizeZero() throws {
        try check(try TestFile(size: 0, pageSize: .huge2M), holding: [])
    }

    @Test(.requiresHugePages(8)) func sizePositionAndSeals() throws {
        let file = try TestFile(pages: [1], of: 3, pageSize: .huge2M)
        try file.descriptor.setPosition(5)
        try file.descriptor.addSeals([.write, .grow])
        let carried = try machine.carry(file) { _ in
            try file.descriptor.setPosition(99)
            try file.descriptor.addSeals(.shrink)
        }
        let record = try HugeMemfdRecord(at: try carried.boot.file(1).data, in: machine.storage())
        #expect(record.size == 3 << 21)
        #expect(record.position == 99)
        #expect(record.folios == 1)
        #expect(record.pageSize == .huge2M)
        #expect(try carried.file.status.size == 3 << 21)
        #expect(try carried.file.descriptor.position() == 99)
        #expect(try carried.file.descriptor.seals() == [.write, .grow, .shrink])
    }

    @Test(.requiresHugePages(4)) func sealedAgainstWriting() throws {
        let file = try TestFile(pages: [0, 2], of: 4, pageSize: .huge2M)
        try file.descriptor.addSeals([.write, .futureWrite, .grow, .shrink, .seal])
        try check(file, holding: [0, 2])
    }

    @Test(.requiresHugePages(4)) func readOnlyDescriptor() throws {
        let file = try TestFile(pages: [0, 2], of: 4, pageSize: .huge2M)
        let reader = try TestFile(reopening: file, O_RDONLY)
        try check(reader, holding: [0, 2])
    }

    @Test("Preserve, freeze, publish and retrieve take no page and reserve none", .requiresHugePages(8))
    func nothingIsAllocated() throws {
        let file = try TestFile(pages: [0, 3, 9], of: 16, pageSize: .huge2M)
        try expectPoolUntouched { try HugeMemfdTests().check(file, holding: [0, 3, 9]) }
    }

    @Test("An update works with no free page in the pool", .requiresHugePages(8))
    func emptyPool() throws {
        let file = try TestFile(pages: [0, 3, 9], of: 16, pageSize: .huge2M)
        let others = try EmptyPool()
        #expect(throws: SystemCallError.self) { try TestFile(pages: [0], of: 1, pageSize: .huge2M) }
        try check(file, holding: [0, 3, 9])
        withExtendedLifetime(others) {}
    }

    @Test(
        "A closed session, an update that is taken back, and a crash take no page either",
        .requiresHugePages(8))
    func emptyPoolAndTrouble() throws {
        let file = try TestFile(pages: [0, 3, 9], of: 16, pageSize: .huge2M)
        let others = try EmptyPool()
        let first = try machine.standardBoot()
        let aborted = try first.orchestrator.createSession("aborted")
        try aborted.preserve(file.descriptor, token: 1)
        try aborted.close()
        try first.orchestrator.createSession("s").preserve(file.descriptor, token: 1)
        try first.orchestrator.publish()
        try first.orchestrator.thaw()
        let again = try machine.standardBoot(.sameBoot)
        #expect(try pages(again).map(\.index) == [0, 3 * 512, 9 * 512])
        try again.orchestrator.publish()
        let carried = try machine.retrieved()
        #expect(try HugePagePool(.huge2M).available == 0)
        for page in [0, 3, 9] as [UInt64] {
            #expect(try carried.file.word(page: page, .huge2M) == TestFile.word(of: page))
        }
        try carried.session.close()
        #expect(machine.descriptors.held.isEmpty)
        withExtendedLifetime(others) {}
    }

    @Test("The bytes of the record in the arena", .requiresHugePages(4))
    func record() throws {
        let file = try TestFile(pages: [1], of: 3, pageSize: .huge2M)
        let boot = try machine.standardBoot()
        try boot.orchestrator.createSession("s").preserve(file.descriptor, token: 1)
        let status = try boot.file(1)
        #expect(status.compatible == "huge-memfd-v1")
        let bytes = try machine.bytes(at: status.data, count: 41)
        #expect(integer(UInt64.self, bytes, at: 0) == 3 << 21)
        #expect(integer(UInt64.self, bytes, at: 16) == 1)
        #expect(bytes[40] == 9)
        let chunk = try machine.bytes(at: integer(UInt64.self, bytes, at: 24), count: 16)
        let folio = try machine.bytes(at: integer(UInt64.self, chunk, at: 8), count: 16)
        let frames = geteuid() == 0 ? try file.frames(ofHugePages: [1]) : [0]
        #expect([integer(UInt64.self, folio, at: 0), integer(UInt64.self, folio, at: 8)] == [frames[0], 512])
    }

    @Test(.requiresHugePages(4)) func pagesThatComeAndGoAfterPreserveAreNormal() throws {
        let file = try TestFile(pages: [0, 1], of: 4, pageSize: .huge2M)
        let carried = try machine.carry(file) { _ in
            try file.fill(page: 3, .huge2M)
            try file.descriptor.punchHole(offset: 0, length: 1 << 21)
        }
        let present = try HugePageMap.pages(of: carried.file.descriptor, size: 4 << 21, pageSize: .huge2M)
        #expect(present.map(\.index) == [512, 3 * 512])
        #expect(try carried.file.word(page: 3, .huge2M) == TestFile.word(of: 3))
        #expect(try pages(carried.boot).map(\.index) == [0, 512], "as it was preserved")
    }
}
