// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import Testing

@Suite struct PageSizeTests {
    @Test func sizesAreThoseOfTheProcessor() {
        #expect(PageSize.base.bytes == UInt64(sysconf(CInt(_SC_PAGESIZE))))
        #expect(PageSize.huge2M.bytes == PageSize.base.bytes << 9)
        #expect(PageSize.huge1G.basePages == 1 << 18)
    }

    @Test(arguments: [0, 1, 2048, 4095, 4097, 12288, UInt64.max]) func otherNumbersAreNoPages(bytes: UInt64) {
        #expect(PageSize(bytes: bytes) == nil)
    }

    @Test func sizesComeBackFromTheirBytes() {
        for order in UInt8(0)...30 { #expect(PageSize(bytes: PageSize(order: order).bytes)?.order == order) }
    }

    @Test func theyAreShownAsPeopleSayThem() {
        #expect([PageSize.base, .huge2M, .huge1G].map(\.description) == ["4K", "2M", "1G"])
        #expect(PageSize.base < .huge2M && .huge2M < .huge1G)
    }
}
