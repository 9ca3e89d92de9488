// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// No store goes to a page that the file does not have. Such a store raises SIGBUS beyond the end of the file, and in a
/// hole when the file system is full.
@Suite struct AllocationTests {
    private static let options = Arena.Options(initialSize: 16384, limit: 1 << 20)

    /// Makes an arena with holes: copies the pages of another arena, without the zero pages, into a file.
    private func sparseCopy(into file: FileDescriptor) throws {
        let arena = try Arena.make(Self.options)
        try arena.takeOver([record(1)], inUse: [])
        let bytes = try arena.read(at: 0, count: arena.size)
        try file.setSize(arena.size)
        // Pages of zeros become holes.
        for offset in stride(from: 0, to: bytes.count, by: 4096) {
            let page = [UInt8](bytes[offset..<offset + 4096])
            if page.contains(where: { $0 != 0 }) {
                try MemoryFile(taking: file.duplicated()).write(page, at: UInt64(offset))
            }
        }
    }

    @Test("Holes are filled when an arena is opened") func holes() throws {
        let file = try MemoryFile(size: 0)
        try sparseCopy(into: file.descriptor)
        let before = try FileStatus(of: file.descriptor)
        #expect(before.allocated < before.size)
        let arena = try Arena(opening: try file.duplicate(), Self.options)
        #expect(try FileStatus(of: file.descriptor).allocated >= arena.size)
        #expect(try arena.journalRecords() == [record(1)])
    }

    @Test("Without room to fill holes the error is ENOSPC, and there is no SIGBUS", .requiresRoot) func noRoom() throws
    {
        let fileSystem = try SmallFileSystem(size: 256 << 10)
        let file = try fileSystem.makeFile()
        try sparseCopy(into: file.borrowed)
        let ballast = try fileSystem.fill()
        let error = arenaFailure { try Arena(opening: try file.borrowed.duplicated(), Self.options) }
        #expect(error?.gate == .space && error?.errno == .noSpace)
        #expect(error?.reason.contains("holes") == true)
        try ballast.drop()
        #expect(arenaFailure { try Arena(opening: try file.borrowed.duplicated(), Self.options) } == nil)
    }

    @Test("An empty file of any length on a full file system is refused, without a SIGBUS", .requiresRoot)
    func emptyFile() throws {
        let fileSystem = try SmallFileSystem(size: 256 << 10)
        let file = try fileSystem.makeFile()
        try file.borrowed.setSize(1 << 40)
        let ballast = try fileSystem.fill()
        let error = arenaFailure { try Arena(opening: try file.borrowed.duplicated(), Self.options) }
        #expect(error?.gate == .magic)
        #expect(error?.reason.contains("superblock is all zero") == true)
        try ballast.drop()
    }

    @Test("The limit on the size of files gives ENOSPC when an arena is made and when it grows") func limitOfFileSize()
        async
    {
        await #expect(processExitsWith: .success) {
            signal(SIGXFSZ, SIG_IGN)
            let file = try MemoryFile(size: 0)
            let arena = try Arena.format(try file.duplicate(), Self.options)
            try arena.takeOver([record(1)], inUse: [])
            var limit = rlimit(rlim_cur: 65536, rlim_max: 65536)
            #expect(unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            let grown = arenaFailure { try arena.allocate(512 << 10) }
            #expect(grown?.gate == .space && grown?.errno == .noSpace)
            #expect(grown?.reason.contains("LimitFSIZE=") == true)
            #expect(arenaFailure { try arena.commit([record(2)], acquiring: false) { [] } } == nil)

            let other = try MemoryFile(size: 0)
            let made = arenaFailure {
                try Arena.format(try other.duplicate(), Arena.Options(initialSize: 1 << 20, limit: 1 << 20))
            }
            #expect(made?.gate == .space && made?.errno == .noSpace)
        }
    }
}
