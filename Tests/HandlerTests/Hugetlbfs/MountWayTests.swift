// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import Testing

@testable import LiveUpdateHandlers

/// A path is walked only if the mount table says that it leads to the file's own hugetlbfs, and that no file system on
/// the way needs a server.
@Suite struct MountWayTests {
    /// A mount in the table, without its number.
    struct Line {
        let parent: Int
        let device: Int
        let root: String
        let point: String
        let type: String

        init(_ parent: Int, _ device: Int, _ point: String, _ type: String, root: String = "/") {
            (self.parent, self.device, self.root, self.point, self.type) = (parent, device, root, point, type)
        }
    }

    /// The way of a path through mounts, which are numbered from 1. The root mount comes before them.
    private func way(_ path: FilePath, _ lines: [Line], root: String = "ext4") throws -> MountWay {
        let all = [Line(900, 8, "/", root)] + lines
        let mounts = try all.enumerated().map { index, line in
            let place = "\(index + 1) \(line.parent) 0:\(line.device) \(line.root) \(line.point)"
            let text = "\(place) rw shared:1 - \(line.type) a rw"
            return try #require(Mount(line: [UInt8](text.utf8)[...]))
        }
        return MountWay(path, device: 37, mounts)
    }

    private func leads(_ path: FilePath, _ lines: [Line], root: String = "ext4") throws -> UInt64? {
        guard case .leads(let mounts) = try way(path, lines, root: root) else { return nil }
        return mounts.last?.number
    }

    @Test("The mount over the path is the file's own") func covered() throws {
        #expect(try leads("/mnt/huge/a/b", [Line(1, 37, "/mnt/huge", "hugetlbfs")]) == 2)
        #expect(try leads("/mnt/huge", [Line(1, 37, "/mnt/huge", "hugetlbfs")]) == 2, "a file can be a mount point")
        #expect(try leads("/dev/huge/a", [Line(1, 5, "/dev", "devtmpfs"), Line(2, 37, "/dev/huge", "hugetlbfs")]) == 3)
        #expect(try leads("/a", [Line(1, 37, "/", "hugetlbfs")]) == 2)
    }

    @Test("A space in a mount point is written as \\040") func escaped() throws {
        #expect(try leads("/mnt/a b/x", [Line(1, 37, #"/mnt/a\040b"#, "hugetlbfs")]) == 2)
        #expect(try leads(#"/mnt/a\040b/x"#, [Line(1, 37, #"/mnt/a\040b"#, "hugetlbfs")]) == nil)
        #expect(try leads(#"/mnt/a\040b/x"#, [Line(1, 37, #"/mnt/a\134040b"#, "hugetlbfs")]) == 2)
    }

    @Test("A mount point covers whole components only") func components() throws {
        #expect(try way("/mnt/huge2/a", [Line(1, 37, "/mnt/huge", "hugetlbfs")]) == .otherType)
        #expect(try leads("/mnt/huge/a", [Line(1, 37, "/mnt/huge", "hugetlbfs"), Line(1, 9, "/mnt/hu", "fuse")]) == 2)
    }

    @Test("A bind mount of a hugetlbfs directory is entered") func bound() throws {
        #expect(try leads("/srv/a", [Line(1, 37, "/srv", "hugetlbfs", root: "/directory")]) == 2)
    }

    @Test("The mount that hides another one counts, in the order of the walk, not of the table")
    func hidden() throws {
        let huge = Line(1, 37, "/mnt", "hugetlbfs")
        #expect(try way("/mnt/a", [huge, Line(2, 38, "/mnt", "hugetlbfs")]) == .otherDevice(38))
        #expect(try way("/mnt/a", [huge, Line(2, 38, "/mnt", "tmpfs")]) == .otherType)
        #expect(try leads("/mnt/a", [Line(3, 37, "/mnt", "hugetlbfs"), Line(1, 38, "/mnt", "tmpfs")]) == 2)
        let deep = Line(1, 37, "/a/b/c", "hugetlbfs")
        #expect(try way("/a/b/c/x", [deep, Line(1, 9, "/a/b", "fuse.sshfs")]) == .asksServer(type: "fuse.sshfs"))
        #expect(try way("/a/b/c/x", [deep, Line(1, 9, "/a", "tmpfs")]) == .otherType)
        #expect(try way("/a/b/c/x", [deep, Line(2, 9, "/a/b/c", "fuse")]) == .asksServer(type: "fuse"))
    }

    @Test(
        "No file system on the way may need a server",
        arguments: [
            "fuse", "fuse.sshfs", "fuseblk", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "virtiofs", "autofs",
            "overlay", "something.new",
        ])
    func servers(_ type: String) throws {
        let under = [Line(1, 9, "/far", type), Line(2, 37, "/far/huge", "hugetlbfs")]
        #expect(try way("/far/huge/a", under) == .asksServer(type: type))
        #expect(try way("/far/a", under) == .asksServer(type: type))
        #expect(try way("/far/a", [Line(1, 37, "/far", type)]) == .asksServer(type: type), "whatever its device is")
        let aside = [Line(1, 9, "/far", type), Line(1, 37, "/huge", "hugetlbfs")]
        #expect(try leads("/huge/a", aside) == 3)
        #expect(try leads("/huge/a", [Line(1, 37, "/huge", "hugetlbfs")], root: type) == 2, "the root is trusted")
    }

    @Test("Without a table no path is walked") func nothing() {
        #expect(MountWay("/a", device: 37, []) == .otherType)
    }

    @Test("The root of a namespace can be its own parent; below the root of a chroot, parents are not in the table")
    func roots() throws {
        let own = try #require(Mount(line: [UInt8]("1 1 0:2 / / rw - rootfs none rw".utf8)[...]))
        let huge = try #require(Mount(line: [UInt8]("7 1 0:37 / /huge rw - hugetlbfs none rw".utf8)[...]))
        #expect(MountWay("/huge/a", device: 37, [own, huge]) == .leads(through: [own, huge]))
        #expect(MountWay("/huge/a", device: 37, [huge]) == .leads(through: [huge]))
    }
}
