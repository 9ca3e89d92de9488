// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// Arrays that are too long for a record. They consist of pages, and of a list of chunks that name the pages.
@Suite struct PageArrayTests {
    private let machine: Machine
    private let storage: Storage

    init() throws {
        machine = try Machine()
        try machine.standardBoot().orchestrator.open()
        let arena = try machine.openArena()
        try arena.claim(inUse: [])
        storage = Storage(arena)
    }

    private static let page = 4096
    private static let fullChunk = 511 * page

    @Test(arguments: [0, 1, page - 1, page, page + 1, fullChunk - 1, fullChunk, fullChunk + 1, 2 * fullChunk + 17])
    func whatIsStoredIsRead(_ count: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 12) }
        let array = try PageArray(storing: bytes, in: storage)
        #expect(array.pages == (count + Self.page - 1) / Self.page)
        #expect((array.firstChunk == 0) == (count == 0))
        #expect(try array.bytes(count: count, in: storage) == bytes)

        var writer = ByteWriter()
        array.encode(into: &writer)
        #expect(writer.bytes.count == 16)
        var reader = ByteReader(writer.bytes, "array")
        #expect(try PageArray(&reader) == array)
    }

    @Test("More folios than one chunk can name: 511 pages of 256 each, and one more")
    func folios() throws {
        let count = 511 * 256 + 1
        let pages = (0..<count).map { HugePage(index: UInt64($0) * 512, frame: UInt64($0) * 7 + 1) }
        let record = try HugeMemfdRecord(
            size: UInt64(count) << 21, position: 0, pages: pages, pageSize: .huge2M, in: storage)
        #expect(record.array.pages == 512)
        try expectChunks(record.array, [511, 1])
        let stored = try HugeMemfdRecord(at: try storage.store(record.bytes), in: storage)
        #expect(stored == record)
        #expect(try stored.pages(in: storage) == pages)
    }

    /// Follows the list as another implementation would: each chunk is a page, and its first word names the next chunk.
    private func expectChunks(_ array: PageArray, _ counts: [Int]) throws {
        var chunk = array.firstChunk
        for count in counts {
            #expect(chunk != 0 && chunk % 4096 == 0)
            let bytes = try machine.bytes(at: chunk, count: Self.page)
            let words = (0..<512).map { integer(UInt64.self, bytes, at: $0 * 8) }
            #expect(words[1...count].allSatisfy { $0 != 0 && $0 % 4096 == 0 })
            #expect(words[(count + 1)...].allSatisfy { $0 == 0 })
            chunk = words[0]
        }
        #expect(chunk == 0)
    }

    @Test func aDescriptorThatWeDoNotWriteIsRefused() throws {
        func bytes(_ chunk: UInt64, _ pages: UInt32, flags: UInt16 = 0, order: UInt16 = 0) -> [UInt8] {
            nativeBytes(chunk) + nativeBytes(pages) + nativeBytes(flags) + nativeBytes(order)
        }
        for bad in [bytes(4096, 1, flags: 1), bytes(4096, 1, order: 1), bytes(0, 1), bytes(4096, 0)] {
            #expect(throws: ArenaError.self) {
                var reader = ByteReader(bad, "array")
                _ = try PageArray(&reader)
            }
        }
    }

    @Test func aListThatEndsTooEarlyOrLeavesTheArenaIsRefused() throws {
        var array = try PageArray(storing: [UInt8](repeating: 1, count: Self.fullChunk + 1), in: storage)
        array.pages += 511
        #expect(errno { try array.bytes(count: 1, in: storage) } == .ioError)
        array.firstChunk = 1 << 60
        #expect(errno { try array.bytes(count: 1, in: storage) } == .ioError)
        array.firstChunk = UInt64.max - 100
        #expect(errno { try array.bytes(count: 1, in: storage) } == .ioError)
    }

    @Test("A chunk that names itself is refused before memory runs out")
    func aListThatNeverEnds() throws {
        let chunk = try storage.allocate(Self.page, alignment: 4096)
        storage.write((0..<512).flatMap { _ in nativeBytes(chunk) }, at: chunk)
        var array = try PageArray(storing: [1], in: storage)
        (array.firstChunk, array.pages) = (chunk, 100_000)
        #expect(errno { try array.bytes(count: 1, in: storage) } == .ioError)
    }

    @Test func moreBytesThanPagesAreRefused() throws {
        let array = try PageArray(storing: [1, 2, 3], in: storage)
        #expect(errno { try array.bytes(count: 4097, in: storage) } == .ioError)
    }
}
