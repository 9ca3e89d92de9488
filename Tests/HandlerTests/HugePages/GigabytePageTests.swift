// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Pages of 1 GiB, from `MFD_HUGE_1GB` or a mount with `pagesize=1G`, are preserved in the same way as pages of 2 MiB.
@Suite struct GigabytePageTests {
    @Test("Size, offset, seals, holes, content and frame stay; no page is taken", .requiresGigabytePages(1))
    func memoryFile() throws {
        let file = try TestFile(pages: [1], of: 3, pageSize: .huge1G)
        try file.store(0xA5, at: (2 << 30) - 1)
        try file.descriptor.setPosition(7)
        try file.descriptor.addSeals([.shrink, .grow])
        let frames = geteuid() == 0 ? try file.frames(ofHugePages: [1], .huge1G) : [0]
        try expectPoolUntouched(.huge1G) {
            let machine = try Machine()
            let carried = try machine.carry(file)
            let record = try HugeMemfdRecord(at: carried.boot.file(1).data, in: machine.storage())
            #expect(record.pageSize == .huge1G)
            #expect(try record.pages(in: machine.storage()) == [HugePage(index: 1 << 18, frame: frames[0])])
            #expect(try carried.file.status.size == 3 << 30)
            #expect(try carried.file.descriptor.position() == 7)
            #expect(try carried.file.descriptor.seals() == [.shrink, .grow])
            #expect(try carried.file.word(page: 1, .huge1G) == TestFile.word(of: 1))
            #expect(try carried.file.byte(at: (2 << 30) - 1) == 0xA5)
            let present = try HugePageMap.pages(of: carried.file.descriptor, size: 3 << 30, pageSize: .huge1G)
            #expect(present == [HugePage(index: 1 << 18, frame: frames[0])])
        }
    }

    @Test("The FLB sums up pages of each size over all files", .requiresGigabytePages(1, andSmall: 4))
    func pool() throws {
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let files = [
            try TestFile(pages: [0], of: 2, pageSize: .huge1G), try TestFile(size: 1 << 30, pageSize: .huge1G),
            try TestFile(pages: [0, 2, 3], of: 4, pageSize: .huge2M),
        ]
        let session = try boot.orchestrator.createSession("s")
        for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
        try boot.orchestrator.publish()
        let next = try machine.standardBoot()
        #expect(try next.orchestrator.status().flbs.map(\.count) == [3])
        try next.orchestrator.withIncoming(next.hugeTLB) { state in
            #expect(state.pagesPreserved(of: .huge1G) == 1)
            #expect(state.pagesPreserved(of: .huge2M) == 3)
        }
    }

    @Test(
        "A file that is punched and cut after preserve fails the freeze, until its size is set back",
        .requiresGigabytePages(1))
    func changes() throws {
        let machine = try Machine()
        let file = try TestFile(pages: [0], of: 2, pageSize: .huge1G)
        let carried = try machine.carry(file) { boot in
            try file.descriptor.punchHole(offset: 0, length: 1 << 30)
            try file.descriptor.setSize(1 << 30)
            let error = failure { try boot.orchestrator.publish() }
            #expect(error?.errno == .staleNFSFileHandle)
            #expect(error?.reason.contains("has \(1 << 30) bytes, and had \(2 << 30)") == true)
            try file.descriptor.setSize(2 << 30)
        }
        #expect(try HugePageMap.pages(of: carried.file.descriptor, size: 2 << 30, pageSize: .huge1G).isEmpty)
    }

    @Test("A named file survives the death of all processes", .requiresRoot, .requiresGigabytePages(1))
    func named() async {
        await #expect(processExitsWith: .success) {
            let directory = try MountNamespace.enter().appending("huge")
            try MountNamespace.mount("hugetlbfs", at: directory, "pagesize=1G")
            let file = try TestFile(opening: directory.appending("guest"), O_RDWR | O_CREAT)
            try file.descriptor.setSize(2 << 30)
            try file.fill(page: 1, .huge1G)
            let machine = try Machine()
            try machine.standardBoot().preserve(file)
            let boot = try Machine(survivorOf: machine).standardBoot()
            let session = try #require(try boot.orchestrator.openSessions.first)
            let taken = TestFile(try session.get(token: 1))
            #expect(try taken.word(page: 1, .huge1G) == TestFile.word(of: 1))
        }
    }
}

extension TestFile {
    fileprivate func store(_ byte: UInt8, at offset: UInt64) throws {
        let page = offset & ~((1 << 30) - 1)
        let mapping = try Mapping(of: descriptor, offset: page, length: 1 << 30, .shared(writable: true))
        unsafe mapping.bytes[Int(offset - page)] = byte
    }

    fileprivate func byte(at offset: UInt64) throws -> UInt8 {
        let page = offset & ~((1 << 30) - 1)
        let mapping = try Mapping(of: descriptor, offset: page, length: 1 << 30, .shared(writable: false))
        return unsafe mapping.bytes[Int(offset - page)]
    }
}
