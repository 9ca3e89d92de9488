// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// The properties of a file with a name on hugetlbfs that an update keeps. Its descriptor holds it, as it holds a
/// memory file.
@Suite(.requiresRoot) struct NamedFileTests {
    @Test("Content, size, offset, holes and frames stay, and so does the open file description", .requiresHugePages(4))
    func everything() async {
        await #expect(processExitsWith: .success) {
            let (file, path) = try Hugetlbfs().make(pages: [0, 2], of: 3)
            let frames = try file.frames(ofHugePages: [0, 2])
            try file.descriptor.setPosition(5)
            let machine = try Machine()
            let carried = try machine.carry(file) { _ in try file.descriptor.setPosition(77) }
            #expect(try carried.boot.file(1).compatible == "hugetlbfs-file-v1")
            #expect(try carried.file.status.identity == file.status.identity)
            #expect(try carried.file.status.size == 3 << 21)
            #expect(try carried.file.descriptor.position() == 77)
            #expect(try carried.file.frames(ofHugePages: [0, 2]) == frames)
            try file.descriptor.setPosition(123)
            #expect(try carried.file.descriptor.position() == 123)
            let record = try HugetlbfsFileRecord(at: carried.boot.file(1).data, in: machine.storage())
            #expect(record.path == path && record.position == 77 && record.mode == .readWrite)
            #expect(record.huge.folios == 2)
        }
    }

    @Test("A file is retrieved with the mode in which it is open", .requiresHugePages(4))
    func modes() async {
        await #expect(processExitsWith: .success) {
            let (_, path) = try Hugetlbfs().make()
            for mode in [O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND, O_WRONLY | O_APPEND] {
                let carried = try Machine().carry(try TestFile(opening: path, mode))
                #expect(carried.file.mode == mode)
            }
        }
    }

    @Test("An update works without a page in the pool, and takes none", .requiresHugePages(4))
    func emptyPool() async {
        await #expect(processExitsWith: .success) {
            let (file, _) = try Hugetlbfs().make(pages: [1], of: 3)
            let others = try EmptyPool()
            let blocks = file.blocks
            let carried = try Machine().carry(file)
            #expect(carried.file.blocks == blocks)
            withExtendedLifetime(others) {}
        }
    }

    @Test("A file is held once, whatever its name and descriptor", .requiresHugePages(4))
    func identity() async {
        await #expect(processExitsWith: .success) {
            let (file, path) = try Hugetlbfs().make()
            let other = path.removingLastComponent().appending("other")
            try link(path, to: other)
            _ = try Machine().carry(file) { boot in
                let session = try boot.orchestrator.createSession("t")
                for name in [path, other] {
                    let again = try TestFile(opening: name, O_RDWR)
                    #expect(errno { try session.preserve(again.descriptor, token: 1) } == .resourceBusy)
                }
            }
        }
    }

    @Test("A file without a name when it is preserved is a hugetlb memory file", .requiresHugePages(4))
    func unlinkedBefore() async {
        await #expect(processExitsWith: .success) {
            let (file, path) = try Hugetlbfs().make()
            try remove(path)
            let carried = try Machine().carry(file)
            #expect(try carried.boot.file(1).compatible == "huge-memfd-v1")
            #expect(try carried.file.word(page: 2, .huge2M) == TestFile.word(of: 2))
        }
    }

    @Test("A directory and a pipe of hugetlbfs are refused", .requiresHugePages(4))
    func otherKinds() async {
        await #expect(processExitsWith: .success) {
            let directory = try Hugetlbfs().directory
            let pipe = directory.appending("pipe")
            _ = unsafe pipe.withPlatformString { unsafe mkfifo($0, 0o600) }
            for file in [try TestFile(opening: directory, O_RDONLY), try TestFile(opening: pipe, O_RDWR)] {
                let error = failure { _ = try Machine().carry(file) }
                #expect(error?.errno == .noSuchFileOrDirectory)
                #expect(error?.reason.contains("hugetlbfs-file-v1: not a regular file") == true, "\(error as Any)")
            }
        }
    }
}
