// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

@Suite struct MappedAreaTests {
    /// The text in the form of the kernel, without most of its lines.
    private static let smaps = """
        55a0c0000000-55a0c0002000 r--p 00000000 fe:00 254163                     /usr/bin/head
        Size:                  8 kB
        KernelPageSize:        4 kB
        Private_Hugetlb:       0 kB
        VmFlags: rd mr mw me
        7fbd14200000-7fbd14a00000 rw-p 00400000 00:11 1124211                    /memfd:a name (deleted)
        Size:               8192 kB
        KernelPageSize:     2048 kB
        Shared_Hugetlb:     4096 kB
        Private_Hugetlb:    2048 kB
        THPeligible:           0
        VmFlags: rd wr mr mw me de ht
        7fbd40000000-7fbdc0000000 rw-s 00000000 00:12 9                          /dev/hugepages/guest
        KernelPageSize:  1048576 kB
        Shared_Hugetlb:        0 kB
        Private_Hugetlb: 1048576 kB
        VmFlags: rd wr sh mr mw me ms de ht
        7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
        KernelPageSize:        4 kB
        Anonymous:            16 kB
        Swap:                  4 kB
        SwapPss:               4 kB
        VmFlags: rd wr mr mw me gd ac
        """

    @Test func privateAreasOfAFile() {
        let maps = Self.smaps.split(separator: "\n").filter { $0.contains(" 00:1") }.joined(separator: "\n")
        #expect(MappedArea.isPrivate(FileIdentity(device: 0x11, inode: 1_124_211), inMaps: maps))
        #expect(!MappedArea.isPrivate(FileIdentity(device: 0x12, inode: 9), inMaps: maps), "a shared area")
        #expect(!MappedArea.isPrivate(FileIdentity(device: 0x11, inode: 9), inMaps: maps))
    }

    @Test func areasOnHugePages() throws {
        let areas = MappedArea.areas(inMaps: Self.smaps).filter(\.isHuge)
        try #require(areas.count == 2)
        #expect(areas[0].range == 0x7fbd_1420_0000..<0x7fbd_14a0_0000)
        #expect(areas[0].isShared == false)
        #expect(areas[0].file == FileIdentity(device: 0x11, inode: 1_124_211))
        #expect(areas[0].path == "/memfd:a name (deleted)")
        #expect(areas[0].pageSize == .huge2M)
        #expect(areas[0].mapped == 6 << 20)
        #expect(areas[1].isShared)
        #expect(areas[1].mayBeWritten)
        #expect(areas[1].pageSize == .huge1G)
        #expect(areas[1].mapped == 1 << 30)
        #expect(areas[1].path == "/dev/hugepages/guest")
    }

    @Test func areasOnBasePages() throws {
        let areas = MappedArea.areas(inMaps: Self.smaps).filter { !$0.isHuge }
        try #require(areas.count == 2)
        #expect(areas.map(\.hasFile) == [true, false])
        #expect(areas.map(\.pageSize) == [.base, .base])
        #expect(areas.map(\.anonymous) == [0, 16 << 10])
        #expect(areas.map(\.swapped) == [0, 4 << 10])
        #expect(areas[1].path == "[stack]")
    }

    @Test func aSharedMappingMayBeReadOnly() throws {
        let text = "7f03-7f04 r--s 00000000 00:01 180 /memfd:ram (deleted)\nVmFlags: rd mr me ms \n"
        let area = try #require(MappedArea.areas(inMaps: text).first)
        #expect(area.isShared && !area.mayBeWritten)
    }

    @Test(
        "Other text in this place",
        arguments: ["", "\n", "VmFlags: ht", "7f-6f rw-s 0 00:11 1", "x-y rw-s 0 00:11 1 /"])
    func noAreas(_ text: String) { #expect(MappedArea.areas(inMaps: text).isEmpty) }

    @Test func ownAreasAreSeen() throws {
        let maps = try readWhole("/proc/self/maps").split(separator: "\n")
        #expect(maps.count > 3)
        #expect(maps.allSatisfy { MapsLine($0) != nil })
    }
}
