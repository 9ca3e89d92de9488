// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

/// The huge pages that a mapping has reserved and not touched, by the text of smaps; the options of a mount.
@Suite struct ReservedPagesTests {
    private func area(_ flags: String, touched: Int) throws -> MappedArea {
        let text = """
            7f0000000000-7f0000800000 rw-s 00000000 00:11 1234      /memfd:x (deleted)
            Shared_Hugetlb:        0 kB
            Private_Hugetlb:    \(touched) kB
            VmFlags: rd wr sh mr mw me ms \(flags)
            """
        return try #require(MappedArea.areas(inMaps: text).first)
    }

    @Test(
        arguments: [
            ("de ht", 0, 8 << 20), ("de ht", 2048, 6 << 20), ("de ht", 8192, 0), ("nr de ht", 0, 0), ("de", 0, 0),
        ] as [(String, Int, UInt64)])
    func mappings(flags: String, touched: Int, untouched: UInt64) throws {
        #expect(try area(flags, touched: touched).untouched == untouched)
    }

    @Test func optionsOfAMount() throws {
        let line = "36 35 0:33 / /mnt rw,relatime shared:1 - hugetlbfs none rw,pagesize=2M,min_size=4194304"
        let mount = try #require(Mount(line: Array(line.utf8)[...]))
        #expect(mount.type == "hugetlbfs" && mount.fileSystemOptions == ["rw", "pagesize=2M", "min_size=4194304"])
        let short = try #require(Mount(line: Array("36 35 0:33 / /mnt rw - tmpfs".utf8)[...]))
        #expect(short.fileSystemOptions == [])
    }
}
