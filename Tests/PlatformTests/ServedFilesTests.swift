// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

/// The decision whether a file of another process can be looked at.
@Suite struct ServedFilesTests {
    @Test(arguments: [
        ("fuse", true), ("fuse.sshfs", true), ("fuseblk", true), ("nfs4", true), ("9p", true), ("virtiofs", true),
        ("ext4", false), ("tmpfs", false), ("hugetlbfs", false), ("overlay", false), ("proc", false),
    ])
    func types(_ type: String, _ isServed: Bool) { #expect(ServedFiles.isServed(type) == isServed) }

    @Test(arguments: [
        ("/memfd:x (deleted)", true), ("pipe:[17]", true), ("socket:[4]", true), ("anon_inode:[eventpoll]", true),
        ("/dev/zero (deleted)", true), ("/SYSV00000000 (deleted)", true), ("/secretmem (deleted)", true),
        ("/file", false), ("/mnt/memfd:x", false), ("/dev/shm/x (deleted)", false),
    ])
    func names(_ name: String, _ isOfKernel: Bool) { #expect(ServedFiles.isOfKernel(name) == isOfKernel) }

    @Test func mountOfADescriptor() {
        let info = "pos:\t0\nflags:\t0100002\nmnt_id:\t31\nino:\t2\n"
        #expect(ServedFiles.mount(inInfo: info) == 31)
        #expect(ServedFiles.mount(inInfo: "pos:\t0\n") == nil)
    }

    @Test("A mapped file is found by its file system; on a mount that is not known, by its name") func areas() throws {
        let table = """
            31 1 0:40 / /mnt/fuse rw - fuse.sshfs host:/ rw
            32 1 0:41 / /dev/shm rw - tmpfs tmpfs rw
            """
        let files = ServedFiles(Mount.all(in: [UInt8](table.utf8)))
        func area(_ device: String, _ path: String) throws -> MappedArea {
            try #require(MappedArea.areas(inMaps: "1000-2000 rw-s 00000000 \(device) 7     \(path)").first)
        }
        #expect(files.contains(try area("00:28", "/mnt/fuse/x")))
        #expect(!files.contains(try area("00:29", "/dev/shm/x (deleted)")))
        #expect(!files.contains(try area("fe:00", "/usr/lib/x")), "on a disk")
        #expect(!files.contains(try area("00:01", "/memfd:x (deleted)")))
        #expect(files.contains(try area("00:63", "/file")))
        #expect(files.isUnknown(try area("00:63", "/file")))
        #expect(!files.isUnknown(try area("00:28", "/x")))
    }
}
