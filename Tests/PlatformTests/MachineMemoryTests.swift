// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

@Suite struct MachineMemoryTests {
    private static let pageTypes = """
        Page block order: 9
        Pages per block:  512

        Free pages count per migrate type at order       0      1      2
        Node    0, zone    DMA32, type          CMA      1      2      3

        Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic          CMA      Isolate
        Node 0, zone    DMA32            5          819            0            0          200            0
        Node 0, zone   Normal            5          819            0            0            1            0
        """

    @Test("The reserve is the blocks of the type CMA, in all zones") func reserve() {
        #expect(MemoryInformation.reserve(in: Self.pageTypes) == 201 * 2 << 20)
    }

    @Test(
        "Without such a table there is no reserve",
        arguments: [
            "", "Pages per block:  512\n", "Number of blocks type     Unmovable\nNode 0, zone DMA32 5\n",
            "Pages per block: 512\nNumber of blocks type Movable CMA\nNode 0, zone\nodd\n",
            "Pages per block: 512\nNumber of blocks type Movable CMA\nNode 0, zone DMA 1 x\n",
            "Pages per block: \(UInt64.max)\nNumber of blocks type Movable CMA\nNode 0, zone DMA 1 9\n",
        ])
    func noReserve(_ text: String) { #expect(MemoryInformation.reserve(in: text) == 0) }

    @Test("This machine has memory") func here() throws {
        let memory = try MemoryInformation()
        #expect(memory.available > 0 && memory.freeInReserve <= physicalMemory())
    }
}
