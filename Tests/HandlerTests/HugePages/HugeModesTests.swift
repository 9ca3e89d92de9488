// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A hugetlb memory file is retrieved with its open mode, even if its own descriptor does not allow a mapping.
@Suite struct HugeModesTests {
    @Test(.requiresHugePages(3), arguments: [O_RDONLY, O_WRONLY, O_RDWR | O_APPEND, O_WRONLY | O_APPEND])
    func modes(_ mode: CInt) throws {
        let file = try TestFile(pages: [1], of: 3, pageSize: .huge2M)
        let carried = try Machine().carry(try TestFile(reopening: file, mode))
        #expect(carried.file.mode == mode)
        #expect(try carried.file.status.identity == file.status.identity)
        let present = try HugePageMap.pages(of: file.descriptor, size: 3 << 21, pageSize: .huge2M)
        #expect(present.map(\.index) == [512])
    }
}
