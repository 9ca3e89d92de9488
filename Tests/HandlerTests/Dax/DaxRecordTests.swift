// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// The bytes of the records of files on DAX, malformed records, and the comparison with a file that was found. Files on
/// DAX themselves are tested in a guest, which has persistent memory: Tests/VM/kexec.
@Suite struct DaxRecordTests {
    private let machine: Machine
    private let storage: Storage

    init() throws {
        machine = try Machine()
        try machine.standardBoot().orchestrator.open()
        let arena = try machine.openArena()
        try arena.claim(inUse: [])
        storage = Storage(arena)
    }

    private let file = LastingIdentity(fileSystem: 0xABCD_EF01_2345_6789, inode: 12, generation: 99)

    private func record(extents: [Extent] = [Extent(offset: 4096, length: 8192)]) throws -> DaxFileRecord {
        try DaxFileRecord(
            size: 1 << 20, position: 0x0A0B, file: file, mode: OpenMode(flags: O_RDWR | O_APPEND),
            memory: DaxMemory(start: 1 << 30, size: 256 << 20), extents: extents, type: .xfs, path: "/pmem/guest",
            in: storage)
    }

    @Test("dax-file-v1: 80 bytes and the path") func layout() throws {
        let record = try record()
        let bytes = record.bytes
        #expect(bytes.count == 80 + 11)
        let words: [UInt64] = [0, 8, 16, 24, 40, 48, 56].map { integer(UInt64.self, bytes, at: $0) }
        #expect(words == [1 << 20, 0x0A0B, 0xABCD_EF01_2345_6789, 12, 1 << 30, 256 << 20, 1])
        let halves: [UInt32] = [32, 36, 72, 76].map { integer(UInt32.self, bytes, at: $0) }
        #expect(halves == [99, UInt32(O_RDWR | O_APPEND), 2, 11])
        #expect([UInt8](bytes[80...]) == [UInt8]("/pmem/guest".utf8))
        let read = try DaxFileRecord(at: try storage.store(bytes), in: storage)
        #expect(read == record)
        #expect(try read.extents(in: storage) == [Extent(offset: 4096, length: 8192)])
        #expect(try self.record(extents: []).extents(in: storage).isEmpty)
    }

    @Test("A malformed record is refused before the file is looked for") func damaged() throws {
        let whole = try record().bytes
        func expectRefused(_ what: Comment, _ change: (inout [UInt8]) -> Void) throws {
            var bytes = whole
            change(&bytes)
            let at = try storage.store(bytes)
            #expect(errno { try DaxFileRecord(at: at, in: storage) } == .ioError, what)
        }
        func put(_ value: UInt32, at offset: Int) -> (inout [UInt8]) -> Void {
            { bytes in bytes.replaceSubrange(offset..<offset + 4, with: nativeBytes(value)) }
        }
        try expectRefused("an access mode of 3", put(3, at: 36))
        try expectRefused("no array of extents", put(0, at: 64))
        for type in [0, 3, UInt32.max] { try expectRefused("a file system of type \(type)", put(type, at: 72)) }
        for length in [0, 4096, UInt32.max] { try expectRefused("a path of \(length) bytes", put(length, at: 76)) }
        try expectRefused("not absolute") { bytes in bytes[80] = UInt8(ascii: "h") }
        #expect(errno { try DaxFileRecord(at: UInt64.max - 10, in: storage) } == .ioError)
        #expect(errno { try DaxDeviceRecord(at: UInt64.max - 10, in: storage) } == .ioError)
    }

    @Test("A file that was found is compared, and the difference is named") func differences() throws {
        let record = try record()
        func difference(
            fileSystem: UInt64? = nil, inode: UInt64? = nil, generation: UInt32? = nil, size: UInt64 = 1 << 20,
            isDax: Bool = true
        ) -> String? {
            let found = LastingIdentity(
                fileSystem: fileSystem ?? file.fileSystem, inode: inode ?? file.inode,
                generation: generation ?? file.generation)
            return record.difference(from: found, size: size, isDax: isDax)?.what
        }
        #expect(difference() == nil)
        #expect(difference(fileSystem: 1)?.contains("another file system") == true)
        #expect(difference(inode: 13)?.contains("inode 13, where 12 was preserved") == true)
        #expect(difference(generation: 100)?.contains("its inode 12 used again") == true)
        #expect(difference(size: 4096)?.contains("4096 bytes, and had 1048576") == true)
        #expect(difference(isDax: false)?.contains("not on DAX") == true)
    }

    @Test("A path may be walked to ext4 and xfs, whatever number the device has now") func way() throws {
        func mount(_ number: Int, _ device: String, _ point: String, _ type: String) throws -> Mount {
            let line = "\(number) 1 \(device) / \(point) rw - \(type) a rw"
            return try #require(Mount(line: [UInt8](line.utf8)[...]))
        }
        let root = try mount(1, "8:1", "/", "ext4")
        let types: Set = ["ext4", "xfs"]
        for type in types {
            let pmem = try mount(2, "259:0", "/pmem", type)
            #expect(MountWay("/pmem/a", to: types, device: nil, [root, pmem]) == .leads(through: [root, pmem]))
        }
        let other = try mount(2, "259:0", "/pmem", "btrfs")
        #expect(MountWay("/pmem/a", to: types, device: nil, [root, other]) == .otherType)
        let far = try mount(2, "0:40", "/pmem", "virtiofs")
        #expect(MountWay("/pmem/a", to: types, device: nil, [root, far]) == .asksServer(type: "virtiofs"))
    }
}
