// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

@Suite struct OtherMemoryTests {
    private static let page = UInt64(PageSize.base.bytes)

    /// Three pages of this process: one is writable, one is read-only, one is writable.
    private struct Pages: ~Copyable {
        let address: UInt64

        init() throws {
            let length = Int(3 * page)
            let found = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            address = UInt64(UInt(bitPattern: found))
            try #require(unsafe mprotect(pointer(page), Int(page), PROT_READ) == 0)
        }

        deinit { unsafe munmap(pointer(0), Int(3 * page)) }

        func pointer(_ offset: UInt64) -> UnsafeMutableRawPointer? {
            unsafe UnsafeMutableRawPointer(bitPattern: UInt(address + offset))
        }

        func bytes(_ offset: UInt64, _ count: Int) -> [UInt8] {
            unsafe pointer(offset).map { unsafe [UInt8](UnsafeRawBufferPointer(start: $0, count: count)) } ?? []
        }
    }

    @Test("Memory is written where its owner may write, and nowhere else") func writing() throws {
        let pages = try Pages()
        let memory = try OtherMemory(of: OtherThread(getpid()))
        try memory.write([1, 2, 3], at: pages.address + 10)
        #expect(pages.bytes(10, 3) == [1, 2, 3])
        try memory.write([4], at: pages.address + 2 * Self.page)
        let fault = SystemCallError("pwrite", .badAddress)
        #expect(throws: fault) { try memory.write([5], at: pages.address + Self.page) }
        #expect(throws: fault, "neither the part that could be") {
            try memory.write([6, 7], at: pages.address + Self.page - 1)
        }
        #expect(pages.bytes(Self.page - 1, 2) == [0, 0])
        for address in [0, 1, UInt64.max, UInt64.max - 1, 1 << 63, UInt64(Int64.max)] {
            #expect(throws: fault) { try memory.write([8, 9], at: address) }
        }
    }

    @Test("The list on older kernels equals the answer of newer ones") func listed() throws {
        let pages = try Pages()
        let maps = try openFile("/proc/self/maps")
        let ranges = WritableRanges(in: maps.borrowed)
        let (first, second, third) = (pages.address, pages.address + Self.page, pages.address + 2 * Self.page)
        #expect(ranges.covers(first..<second) && ranges.covers(third..<third + Self.page))
        #expect(!ranges.covers(second..<third) && !ranges.covers(second - 1..<second + 1))
        #expect(!ranges.covers(0..<1))
    }

    @Test("Memory of an ended process, or of its last program, is not written") func ended() throws {
        let pages = try Pages()
        let child = try ChildProcess.start(ProgramImage(path: "/bin/sleep", arguments: ["sleep", "600"]))
        let memory = try OtherMemory(of: OtherThread(child.id))
        child.kill()
        child.finish()
        #expect(throws: SystemCallError("pwrite", .badAddress)) { try memory.write([1], at: pages.address) }
        #expect(throws: SystemCallError("open", .noSuchFileOrDirectory)) { try OtherMemory(of: OtherThread(child.id)) }
    }
}
