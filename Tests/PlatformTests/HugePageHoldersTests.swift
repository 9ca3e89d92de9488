// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// Holders of huge pages. This process holds pages in every possible way.
@Suite(.requiresRoot, .requiresHugePages(8)) struct HugePageHoldersTests {
    private static let page = PageSize.huge2M.bytes

    private func hugeFile(_ pages: UInt64, of size: UInt64) throws -> OwnedDescriptor {
        let file = try makeMemoryFile(named: "holder", size: size * Self.page, pageSize: .huge2M)
        try file.borrowed.allocate(offset: 0, length: pages * Self.page)
        return file
    }

    private func ours(_ holders: HugePageHolders) -> HugePageHolders.Holder? {
        holders.holders.first { $0.process == getpid() }
    }

    /// The number of used pages without a known holder. In these tests no other process holds any.
    private func unexplained(_ holders: HugePageHolders) throws -> Int64 {
        let pool = try HugePagePool(.huge2M)
        return Int64(pool.total - pool.free) - Int64(holders.pages(of: .huge2M).accountedFor)
    }

    @Test func anOpenFile() throws {
        let file = try hugeFile(2, of: 4)
        let identity = try FileStatus(of: file.borrowed).identity
        let before = try HugePageHolders.survey()
        #expect(before.held[identity]?.allocated == 2 * Self.page)
        let open = try #require(ours(before)?.open.first { $0.descriptor == file.borrowed.rawValue })
        #expect(open.file.allocated == 2 * Self.page)
        #expect(open.file.size == 4 * Self.page)
        #expect(open.file.path == "/memfd:holder (deleted)")
        #expect(open.file.links == 0)
        // Another descriptor of the same file holds no more pages.
        let copy = try file.borrowed.duplicated()
        let after = try HugePageHolders.survey()
        #expect(ours(after)?.open.contains { $0.descriptor == copy.borrowed.rawValue } == true)
        // This file is counted once among all files.
        let all = after.held.values.filter { $0.pageSize == .huge2M }.reduce(0) { $0 + $1.allocated / Self.page }
        #expect(after.pages(of: .huge2M).held == all)
    }

    @Test("A mapping of a file that no process has open, also without a touch") func aMapping() throws {
        let descriptor = try hugeFile(3, of: 3).release()
        let identity = try FileStatus(of: descriptor).identity
        let mapping = try Mapping(of: descriptor, length: 3 * Self.page, .shared(writable: true))
        try closeDescriptor(descriptor)

        let untouched = try HugePageHolders.survey()
        #expect(ours(untouched)?.mapped.first { $0.identity == identity }?.bytes == 0)
        #expect(untouched.held[identity]?.allocated == 3 * Self.page)

        unsafe mapping.bytes.storeBytes(of: 1, toByteOffset: Int(Self.page), as: UInt8.self)
        let touched = try HugePageHolders.survey()
        let mapped = try #require(ours(touched)?.mapped.first { $0.identity == identity })
        #expect(mapped.bytes == Self.page)
        #expect(mapped.pageSize == .huge2M)
        #expect(touched.held[identity]?.allocated == 3 * Self.page)
        withExtendedLifetime(mapping) {}
    }

    @Test("The pages that belong to a private mapping itself, and not to its file") func aPrivateMapping() throws {
        let none = try HugePageHolders.survey().pages(of: .huge2M)
        let file = try hugeFile(2, of: 3)
        let address = try unsafe privateMapping(of: file.borrowed, pages: 3)
        defer { unsafe munmap(address, Int(3 * Self.page)) }
        // Pages that are only read belong to the file. Written pages belong to the mapping.
        for index in 0..<2 { _ = unsafe address.load(fromByteOffset: index * Int(Self.page), as: UInt8.self) }
        unsafe address.storeBytes(of: 1, toByteOffset: 2 * Int(Self.page), as: UInt8.self)
        let found = try HugePageHolders.survey()
        let pages = found.pages(of: .huge2M)
        #expect(found.held[try FileStatus(of: file.borrowed).identity]?.allocated == 2 * Self.page)
        #expect(pages.anonymous == none.anonymous + 1)
    }

    @unsafe
    private func privateMapping(of file: FileDescriptor, pages: UInt64) throws -> UnsafeMutableRawPointer {
        let length = Int(pages * Self.page)
        let address = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.rawValue, 0)
        return try unsafe #require(address)
    }

    @Test func filesWithANameThatNobodyHasOpen() throws {
        let mount = try HugetlbfsMount()
        let answer = unsafe mkdir("\(mount.path)/in a directory", 0o700)
        try #require(answer == 0)
        let path = "\(mount.path)/in a directory/guest"
        let made = try mount.makeFile("in a directory/guest", pages: 2).release()
        let open = try HugePageHolders.survey()
        #expect(open.unopened.allSatisfy { $0.path != path })
        #expect(ours(open)?.open.contains { $0.file.path == path } == true)
        try closeDescriptor(made)

        let unopened = try HugePageHolders.survey()
        let file = try #require(unopened.unopened.first { $0.path == path })
        #expect(file.allocated == 2 * Self.page)
        #expect(file.links == 1)
        #expect(open.held[file.identity]?.allocated == 2 * Self.page)
        #expect(unopened.held[file.identity] == nil)
        #expect(unopened.pages(of: .huge2M).unopened == open.pages(of: .huge2M).unopened + 2)
        withExtendedLifetime(mount) {}
    }

    @Test("Descriptors in transit through a socket have no holder, and the survey says so") func inFlight() throws {
        let none = try unexplained(try HugePageHolders.survey())
        var ends: [CInt] = [0, 0]
        try #require(unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        do {
            let file = try hugeFile(2, of: 2)
            try #require(sendDescriptor(file.borrowed.rawValue, over: ends[0]))
        }
        #expect(try unexplained(try HugePageHolders.survey()) == none + 2)
    }

    /// Calls sendmsg(2) with SCM_RIGHTS. Swift cannot call the macros for it.
    private func sendDescriptor(_ number: CInt, over socket: CInt) -> Bool {
        let rights: CInt = 1
        var control: [CInt] = [20, 0, SOL_SOCKET, rights, number, 0]
        var byte: UInt8 = 1
        return unsafe withUnsafeMutablePointer(to: &byte) { data in
            var part = unsafe iovec(iov_base: data, iov_len: 1)
            return unsafe withUnsafeMutablePointer(to: &part) { parts in
                unsafe control.withUnsafeMutableBytes { bytes in
                    var message = unsafe msghdr()
                    unsafe message.msg_iov = parts
                    unsafe message.msg_iovlen = 1
                    unsafe message.msg_control = bytes.baseAddress
                    unsafe message.msg_controllen = bytes.count
                    return unsafe sendmsg(socket, &message, 0) == 1
                }
            }
        }
    }
}
