// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// The status of a file, from fstat(2) and from the kernel's cache.
@Suite struct FileStatusTests {
    @Test("For a memory file the cached status is the same as that of fstat(2)") func cached() throws {
        let file = try MemoryFile("cached", bytes: [1, 2, 3])
        let (cached, asked) = try (FileStatus(cached: file.descriptor), FileStatus(of: file.descriptor))
        #expect(cached.identity == asked.identity)
        #expect(cached.size == 3)
        #expect(cached.allocated == asked.allocated)
        #expect(cached.links == 0)
        #expect(cached.type == .regular)
        #expect(cached.isOursAlone == asked.isOursAlone)
    }

    @Test(
        "Device numbers of both calls are the same",
        arguments: ["/", "/proc", "/dev/null", "/etc/passwd", "/dev/shm"])
    func devices(path: String) throws {
        let file = try openFile(path)
        #expect(try FileStatus(cached: file.borrowed).identity == FileStatus(of: file.borrowed).identity)
    }

    @Test(
        "The cached status of a stuck file system needs no request, and its files may make requests",
        .enabled(if: StuckFileSystem.isMissing == nil))
    func unanswering() throws {
        let system = try StuckFileSystem()
        let file = try system.open()
        defer {
            system.end()
            try? closeDescriptor(file)
        }
        let status = try FileStatus(cached: file)
        #expect(status.identity.inode == 2)
        #expect(status.isRegular)
        #expect(try file.mayAskServer())
        #expect(try !file.isPathOnly())
        let found = try findFileBehind(system.path)
        #expect(try !found.borrowed.mayAskServer(), "its close asks nothing")
        #expect(try found.borrowed.isPathOnly())
        #expect(system.count(.getattr) == 0)
        #expect(system.count(.statfs) == 0)
    }

    @Test func whatAsksNoServer() throws {
        let memory = try MemoryFile("memory", bytes: [1])
        let pipe = try PipeEnds()
        #expect(try !memory.descriptor.mayAskServer())
        #expect(try !pipe.reading.borrowed.mayAskServer())
        for path in ["/dev/null", "/dev/zero"] {
            let device = try openFile(path)
            #expect(try !device.borrowed.mayAskServer())
        }
        #expect(throws: SystemCallError("fcntl", .badFileDescriptor)) {
            try FileDescriptor(rawValue: -1).mayAskServer()
        }
    }

    /// A file system in user space can choose all numbers of a status.
    @Test func noNumberIsImpossible() {
        for number in [UInt64(0), 1, 1 << 54, 1 << 55, 1 << 62, 1 << 63, .max] {
            let status = FileStatus(
                cshims_status(
                    device: number, inode: number, size: number, links: number, blocks: number, of_device: number,
                    mode: .max, user: .max, group: .max, is_dax: 0))
            #expect(status.size == number)
            #expect(status.allocated == (number < 1 << 55 ? number * 512 : .max))
        }
        for number in [Int64.min, -1, 0, 1 << 54, 1 << 55, .max] {
            var found = stat()
            found.st_size = Int(number)
            found.st_blocks = Int(number)
            let status = FileStatus(found)
            #expect(status.size == UInt64(max(number, 0)))
            #expect(status.allocated == (number < 0 ? 0 : number < 1 << 55 ? UInt64(number) * 512 : .max))
        }
    }
}
