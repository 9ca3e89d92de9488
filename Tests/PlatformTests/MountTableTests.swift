import Testing

@testable import Platform

@Suite struct MountTableTests {
    @Test(arguments: [
        ("40 31 0:37 / /mnt/huge rw,relatime shared:1 - hugetlbfs none rw,pagesize=2M", "/mnt/huge", "hugetlbfs", 37),
        ("40 31 0:37 / /mnt rw - tmpfs none rw", "/mnt", "tmpfs", 37),
        ("40 31 0:37 / /mnt rw a:1 b:2 c - tmpfs none rw", "/mnt", "tmpfs", 37),
        (#"40 31 8:1 / /a\040b\134c\012 rw - ext4 /dev/sda1 rw"#, "/a b\\c\n", "ext4", 0x801),
    ])
    func lines(_ line: String, _ point: String, _ type: String, _ device: UInt64) throws {
        let mount = try #require(Mount(line: line))
        #expect([mount.point, mount.type] == [point, type])
        #expect(mount.device == device)
    }

    @Test(arguments: [
        "", "40", "40 31 0:37 / /mnt rw", "40 31 0:37 / /mnt rw -", "40 31 x:37 / /mnt rw - tmpfs none rw",
    ])
    func noLines(_ line: String) { #expect(Mount(line: line) == nil) }

    @Test func theSystemsOwn() throws {
        let proc = try #require(try Mount.all().last { $0.point == "/proc" })
        #expect(proc.type == "proc")
        #expect(try FileStatus(at: "/proc").identity.device == proc.device)
    }

    @Test(
        "As makedev(3)",
        arguments: [
            (0, 17, 17), (8, 1, 2049), (259, 70000, 286_327_664), (4095, 255, 1_048_575), (5000, 1, 17_592_186_275_841),
        ])
    func devices(major: UInt64, minor: UInt64, device: UInt64) {
        #expect(deviceNumber(major: major, minor: minor) == device)
    }
}
