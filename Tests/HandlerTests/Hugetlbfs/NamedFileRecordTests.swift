// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// The bytes of `hugetlbfs-file-v1`, and malformed records.
@Suite struct NamedFileRecordTests {
    private let machine: Machine
    private let storage: Storage

    init() throws {
        machine = try Machine()
        try machine.standardBoot().orchestrator.open()
        let arena = try machine.openArena()
        try arena.claim(inUse: [])
        storage = Storage(arena)
    }

    private func record(_ path: String = "/huge/guest") throws -> HugetlbfsFileRecord {
        let huge = try HugeMemfdRecord(
            size: 3 << 21, position: 0x0A0B, pages: [HugePage(index: 512, frame: 7)], pageSize: .huge2M, in: storage)
        return HugetlbfsFileRecord(huge, mode: OpenMode(flags: O_RDWR | O_APPEND), path: FilePath(path))
    }

    @Test("The 41 bytes of huge-memfd-v1, 3 zeros, u32 mode, u32 length, and the path") func layout() throws {
        let record = try record()
        let bytes = record.bytes
        #expect(bytes.count == 52 + 11)
        #expect([UInt8](bytes[..<41]) == record.huge.bytes)
        #expect([UInt8](bytes[41..<44]) == [0, 0, 0])
        #expect(integer(UInt32.self, bytes, at: 44) == UInt32(O_RDWR | O_APPEND))
        #expect(integer(UInt32.self, bytes, at: 48) == 11)
        #expect([UInt8](bytes[52...]) == [UInt8]("/huge/guest".utf8))
        #expect(try HugetlbfsFileRecord(at: try storage.store(bytes), in: storage) == record)
    }

    @Test("A malformed record is refused before the file is looked for") func damaged() throws {
        let whole = try record().bytes
        func expectRefused(_ what: Comment, _ change: (inout [UInt8]) -> Void) throws {
            var bytes = whole
            change(&bytes)
            let at = try storage.store(bytes)
            #expect(errno { try HugetlbfsFileRecord(at: at, in: storage) } == .ioError, what)
        }
        func put(_ value: UInt32, at offset: Int) -> (inout [UInt8]) -> Void {
            { bytes in bytes.replaceSubrange(offset..<offset + 4, with: nativeBytes(value)) }
        }
        try expectRefused("an access mode of 3", put(3, at: 44))
        try expectRefused("a flag that is not kept", put(UInt32(O_RDWR | O_TRUNC), at: 44))
        for length in [0, 4096, UInt32.max] { try expectRefused("a path of \(length) bytes", put(length, at: 48)) }
        try expectRefused("not absolute") { bytes in bytes[52] = UInt8(ascii: "h") }
        try expectRefused("a NUL in it") { bytes in bytes[55] = 0 }
        try expectRefused("a slash twice") { bytes in bytes[53] = UInt8(ascii: "/") }
        try expectRefused("no huge page") { bytes in bytes[40] = 0 }
        #expect(errno { try HugetlbfsFileRecord(at: UInt64.max - 10, in: storage) } == .ioError)
    }
}
