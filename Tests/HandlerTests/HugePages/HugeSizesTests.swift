// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Large files with few pages, pages that alternate with holes, and sizes that are not a multiple of the page size.
@Suite struct HugeSizesTests {
    private func check(_ file: TestFile, size: UInt64, pages: [UInt64]) throws {
        let machine = try Machine()
        let blocks = file.blocks
        let carried = try machine.carry(file)
        let record = try HugeMemfdRecord(at: carried.boot.file(1).data, in: machine.storage())
        #expect(try record.pages(in: machine.storage()).map { $0.index / 512 } == pages)
        #expect(record.size == size)
        #expect(try carried.file.status.size == size)
        #expect(carried.file.blocks == blocks, "holes stay holes")
        for page in pages { #expect(try carried.file.word(page: page, .huge2M) == TestFile.word(of: page)) }
    }

    @Test("1 TiB with three pages", .requiresHugePages(3)) func large() throws {
        let last: UInt64 = (1 << 19) - 1
        let pages = [0, last / 2, last]
        try check(try TestFile(pages: pages, of: last + 1, pageSize: .huge2M), size: 1 << 40, pages: pages)
    }

    @Test("Every second page of a file exists", .requiresHugePages(16)) func everySecond() throws {
        for first in [0, 1] as [UInt64] {
            let pages = (0..<16).map { $0 * 2 + first }
            try check(try TestFile(pages: pages, of: 33, pageSize: .huge2M), size: 33 << 21, pages: pages)
        }
    }

    @Test(
        "A size that is not a multiple of the page size stays, also while the file is preserved", .requiresHugePages(2),
        arguments: [1, 4096, (1 << 21) + 1, (2 << 21) - 4096] as [UInt64])
    func odd(_ size: UInt64) throws {
        let file = try TestFile(size: 0, pageSize: .huge2M)
        // ftruncate(2) refuses such a size, but fallocate(2) accepts it.
        try file.descriptor.allocate(offset: 0, length: size)
        #expect(try file.status.size == size)
        let machine = try Machine()
        let carried = try machine.carry(file) { _ in
            let now = try file.status.size
            #expect(now == size, "describing a file must not make it longer")
        }
        #expect(try carried.file.status.size == size)
        let pages = (size + (1 << 21) - 1) >> 21
        let record = try HugeMemfdRecord(at: carried.boot.file(1).data, in: machine.storage())
        #expect(record.folios == pages)
    }
}
