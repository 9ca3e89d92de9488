// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Another process maps the file, as a guest maps its memory, and faults in pages after the file was preserved. These
/// pages travel, and the freeze works.
@Suite struct GuestTests {
    @Test func memfd() async throws { try await check(.base) }

    @Test(.requiresHugePages(4)) func hugeMemfd() async throws { try await check(.huge2M) }

    private func check(_ pageSize: PageSize) async throws {
        let file = try TestFile(pages: [0], of: 6, pageSize: pageSize)
        let machine = try Machine()
        let first = try machine.standardBoot()
        try first.preserve(file)

        let path = "/proc/\(getpid())/fd/\(file.descriptor.rawValue)"
        await #expect(processExitsWith: .success) { [path = path as String, order = pageSize.order as UInt8] in
            try Guest(path, PageSize(order: order)).run()
        }
        try first.orchestrator.publish()
        let carried = try machine.retrieved()
        #expect(try carried.file.word(page: 0, pageSize) == Guest.word)
        #expect(try carried.file.word(page: 2, pageSize) == Guest.word)
        #expect(try carried.file.present(pageSize) == [0, 2, 4], "written, and read")
        let data = try carried.boot.file(1).data
        let recorded =
            pageSize == .base
            ? try MemfdRecord(at: data, in: machine.storage()).extents(in: machine.storage()).map(\.length)
            : try HugeMemfdRecord(at: data, in: machine.storage()).pages(in: machine.storage()).map { _ in 1 << 21 }
        #expect(recorded == [pageSize.bytes], "as it was preserved")
    }
}

/// The actions of the other process.
private struct Guest {
    static let word: UInt64 = 0x6775_6573_7400_0001
    private let file: TestFile
    private let pageSize: PageSize

    init(_ path: String, _ pageSize: PageSize) throws {
        file = try TestFile(opening: FilePath(path), O_RDWR)
        self.pageSize = pageSize
    }

    /// Writes to an existing page and to a missing one, and reads a missing page.
    func run() throws {
        let mapping = try Mapping(of: file.descriptor, length: 6 * pageSize.bytes, .shared(writable: true))
        let size = Int(pageSize.bytes)
        for page in [0, 2] {
            unsafe mapping.bytes.storeBytes(of: Self.word, toByteOffset: page * size, as: UInt64.self)
        }
        #expect(unsafe mapping.bytes.load(fromByteOffset: 4 * size, as: UInt64.self) == 0)
    }
}

extension TestFile {
    /// The numbers of the existing pages.
    fileprivate func present(_ pageSize: PageSize) throws -> [UInt64] {
        if pageSize == .base { return try extents.map { $0.offset / 4096 } }
        let pages = try HugePageMap.pages(of: descriptor, size: try status.size, pageSize: pageSize)
        return pages.map { $0.index / pageSize.basePages }
    }
}
