// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// Numbers from outside that no file, process or pool can have. They give an error or a limit, and never a trap.
@Suite struct NumberTests {
    private static let large: [UInt64] = [1 << 63, (1 << 63) + 4096, .max]

    @Test(arguments: large) func sizes(size: UInt64) throws {
        let file = try MemoryFile("odd", bytes: [1])
        #expect(throws: SystemCallError("ftruncate", .fileTooLarge)) { try file.descriptor.setSize(size) }
        let error = SystemCallError("fallocate", .fileTooLarge)
        #expect(throws: error) { try file.descriptor.allocate(offset: size, length: 1) }
        #expect(throws: error) { try file.descriptor.allocate(offset: 0, length: size) }
        #expect(throws: error) { try file.descriptor.punchHole(offset: size, length: 1) }
        #expect(throws: error) { try file.descriptor.punchHole(offset: 0, length: size) }
        #expect(throws: SystemCallError("mmap", .noMemory)) {
            try Mapping(of: file.descriptor, length: size, .privateView).address
        }
        #expect(throws: SystemCallError("mmap", .noMemory)) {
            try Mapping(of: file.descriptor, offset: size, length: 4096, .privateView).address
        }
    }

    @Test("The largest possible file has no extent, and its search ends") func largestFile() throws {
        let file = try MemoryFile("large", bytes: [])
        try file.descriptor.setSize(UInt64(Int64.max))
        #expect(try dataExtents(of: file.descriptor, size: UInt64(Int64.max)).isEmpty)
    }

    @Test(
        arguments: [
            (0, 0, 0), (5, -5, 0), (5, -6, 0), (5, .min, 0), (.max, 1, .max), (.max - 1, 1, .max), (.max, .max, .max),
            (.max, -1, .max - 1), (1 << 63, .min, 0), (.max, .min, UInt64(Int64.max)),
        ] as [(UInt64, Int64, UInt64)])
    func overcommit(now: UInt64, difference: Int64, wanted: UInt64) {
        #expect(HugePageReservation.changed(now, by: difference) == wanted)
    }

    @Test(
        arguments: [
            (0, 1024, 3..<3), (-1, 1024, 3..<3), (.min, 1024, 3..<3), (2, 1024, 3..<5), (.max, 1024, 3..<1027),
            (.max, .max, 3..<CInt.max), (4, 0, 3..<3),
        ] as [(CInt, Int, Range<CInt>)])
    func passedDescriptors(count: CInt, limit: Int, numbers: Range<CInt>) {
        #expect(PassedDescriptor.numbers(count, limit: limit) == numbers)
    }

    @Test func descriptorLimits() async {
        await #expect(processExitsWith: .success) {
            for count in [Int.min, -1, Int(CInt.max) + 1, .max] {
                growDescriptorTable(to: count)
                DescriptorLimit.raise(to: count)
            }
        }
    }

    @Test("A file beyond RLIMIT_FSIZE is an error if SIGXFSZ is ignored") func fileSizes() async {
        await #expect(processExitsWith: .success) {
            deliverFileSizeSignal()
            ignoreFileSizeSignal()
            let file = try makeMemoryFile(named: "limited", size: 0)
            var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
            try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            #expect(throws: SystemCallError("ftruncate", .fileTooLarge)) { try file.borrowed.setSize(8192) }
            #expect(throws: SystemCallError("fallocate", .fileTooLarge)) {
                try file.borrowed.allocate(offset: 0, length: 8192)
            }
        }
        await #expect(processExitsWith: .signal(SIGXFSZ)) {
            deliverFileSizeSignal()
            let file = try makeMemoryFile(named: "limited", size: 0)
            var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
            _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            try file.borrowed.setSize(8192)
        }
    }
}

/// Resets the signal as in a program that was just started, because the parent of the tests may ignore or block it.
private func deliverFileSizeSignal() {
    signal(SIGXFSZ, SIG_DFL)
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe sigprocmask(SIG_SETMASK, &none, nil)
}
