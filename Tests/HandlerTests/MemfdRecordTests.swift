// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// The bytes of the records of both handlers.
@Suite struct MemfdRecordTests {
    @Test("memfd-extents-v1: 40 bytes, and 16 bytes for each extent")
    func layout() throws {
        let file = try TestFile(pages: [2, 3, 7], of: 9)
        try file.descriptor.setPosition(0x0102_0304)
        try file.descriptor.addSeals([.grow, .shrink])
        let machine = try Machine()
        let boot = try machine.standardBoot()
        try boot.orchestrator.createSession("s").preserve(file.descriptor, token: 1)

        let status = try boot.file(1)
        #expect(status.compatible == "memfd-extents-v1")
        let bytes = try machine.bytes(at: status.data, count: 40)
        #expect(integer(UInt64.self, bytes, at: 0) == 9 * 4096)
        #expect(integer(UInt64.self, bytes, at: 8) == 0x0102_0304)
        #expect(integer(UInt32.self, bytes, at: 16) == 6)
        #expect(integer(UInt32.self, bytes, at: 20) == 0)
        #expect(integer(UInt64.self, bytes, at: 24) == 2)
        let array = try machine.bytes(at: integer(UInt64.self, bytes, at: 32), count: 32)
        let words: [UInt64] = (0..<4).map { integer(UInt64.self, array, at: $0 * 8) }
        #expect(words == [0x2000, 0x2000, 0x7000, 0x1000])
    }

    /// The only page of an array with one chunk.
    private func firstPage(ofChunk chunk: UInt64, _ machine: Machine) throws -> [UInt8] {
        #expect(chunk % 4096 == 0)
        let list = try machine.bytes(at: chunk, count: 4096)
        #expect(integer(UInt64.self, list, at: 0) == 0, "no further chunk")
        #expect(list[16...].allSatisfy { $0 == 0 }, "no further page")
        return try machine.bytes(at: integer(UInt64.self, list, at: 8), count: 4096)
    }

    @Test func anEmptyFileHasNoArray() throws {
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let file = try TestFile(size: 0)
        try boot.orchestrator.createSession("s").preserve(file.descriptor, token: 1)
        let bytes = try machine.bytes(at: try boot.file(1).data, count: 40)
        #expect(bytes.allSatisfy { $0 == 0 })
    }

    @Test("huge-memfd-v1: 41 bytes, and a folio of 16 bytes for each huge page")
    func hugeLayout() throws {
        let machine = try Machine()
        try machine.standardBoot().orchestrator.open()
        let storage = try scratch(machine)
        let frame: UInt64 = 0xF_EDCB_A987_6543
        let record = try HugeMemfdRecord(
            size: 5 << 21, position: 0x0A0B,
            pages: [HugePage(index: 0, frame: frame), HugePage(index: 1536, frame: 9)],
            pageSize: .huge2M, in: storage)
        let bytes = record.bytes
        #expect(bytes.count == 41)
        #expect(integer(UInt64.self, bytes, at: 0) == 5 << 21)
        #expect(integer(UInt64.self, bytes, at: 8) == 0x0A0B)
        #expect(integer(UInt64.self, bytes, at: 16) == 2)
        let chunk = integer(UInt64.self, bytes, at: 24)
        #expect(integer(UInt32.self, bytes, at: 32) == 1, "pages of the array")
        #expect(integer(UInt32.self, bytes, at: 36) == 0, "flags and order of the array")
        #expect(bytes[40] == 9, "the order of the pages")
        let words = try firstPage(ofChunk: chunk, machine)
        let found: [UInt64] = (0..<5).map { integer(UInt64.self, words, at: $0 * 8) }
        #expect(found == [frame, 0, 9, 1536, 0])
    }

    /// A storage to write into, outside of any boot.
    private func scratch(_ machine: Machine) throws -> Storage {
        let arena = try machine.openArena()
        try arena.claim(inUse: [])
        return Storage(arena)
    }

    @Test("The upper 12 bits of a folio's first word are flags, and not part of the frame")
    func flags() throws {
        let machine = try Machine()
        try machine.standardBoot().orchestrator.open()
        let storage = try scratch(machine)
        let record = try HugeMemfdRecord(
            size: 1 << 21, position: 0, pages: [HugePage(index: 0, frame: UInt64.max)], pageSize: .huge2M, in: storage)
        let stored = try HugeMemfdRecord(at: try storage.store(record.bytes), in: storage)
        #expect(try stored.pages(in: storage) == [HugePage(index: 0, frame: (1 << 52) - 1)])
    }

    @Test("A malformed record is refused", arguments: [16, 24, 36, 40])
    func damaged(_ offset: Int) throws {
        let machine = try Machine()
        try machine.standardBoot().orchestrator.open()
        let storage = try scratch(machine)
        let record = try HugeMemfdRecord(
            size: 1 << 21, position: 0, pages: [HugePage(index: 0, frame: 1)], pageSize: .huge2M, in: storage)
        var bytes = record.bytes
        bytes[offset] ^= 0xFF
        let at = try storage.store(bytes)
        let error = failure {
            let damaged = try HugeMemfdRecord(at: at, in: storage)
            _ = try damaged.pages(in: storage)
        }
        #expect(error?.errno == .ioError)
    }

    @Test func extentsThatLeaveTheFileAreRefused() throws {
        let machine = try Machine()
        try machine.standardBoot().orchestrator.open()
        let storage = try scratch(machine)
        let impossible: [[Extent]] = [
            [Extent(offset: 0, length: 8193)], [Extent(offset: 8192, length: 1)],
            [Extent(offset: 4096, length: UInt64.max)],
            [Extent(offset: 4096, length: 1), Extent(offset: 0, length: 1)],
            [Extent(offset: 0, length: 100), Extent(offset: 50, length: 100)],
        ]
        for extents in impossible {
            let record = try MemfdRecord(size: 8192, position: 0, seals: [], extents: extents, in: storage)
            #expect(errno { try record.extents(in: storage) } == .ioError)
        }
    }
}
