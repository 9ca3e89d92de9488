// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdateKernel
import Testing

/// The memory map of a server with 128 GiB, which the documents use, too.
let serverMap: MemoryMap = {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "Samples/server.iomem")
    return MemoryMap((try? String(contentsOf: path, encoding: .utf8)) ?? "")
}()

@Suite struct MemoryMapTests {
    @Test func rangesContainRanges() {
        let map = MemoryMap(
            """
            00100000-3fffffff : System RAM
              01000000-01ffffff : Kernel code
              02000000-02ffffff : Kernel data
            40000000-4fffffff : Persistent Memory (legacy)
              40000000-4fffffff : namespace0.0
            c0000000-febfffff : PCI Bus 0000:00
              febfc000-febfffff : 0000:00:02.0
                febfc000-febfffff : virtio-pci-modern
            100000000-13fffffff : System RAM
            """)
        #expect(
            map.entries.map(\.name) == [
                "System RAM", "Persistent Memory (legacy)", "PCI Bus 0000:00", "System RAM",
            ])
        #expect(map.entries[0].children.map(\.name) == ["Kernel code", "Kernel data"])
        #expect(map.entries[2].children[0].children[0].name == "virtio-pci-modern")
        #expect(map.systemRAMSize == 0x3ff0_0000 + 0x4000_0000)
        #expect(map.entries[1].range == 0x4000_0000..<0x5000_0000)
        #expect(!map.isHidden)
    }

    @Test func hiddenAddressesAreNoticed() {
        #expect(MemoryMap("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n").isHidden)
        #expect(MemoryMap("").isHidden)
        #expect(!MemoryMap("0-ffffffffffffffff : System RAM\n").isHidden)
    }

    @Test(arguments: ["", "nonsense", "12-xy : a", "20-10 : a", "-1 : a", "100000000000000000-2 : a", "1-2"])
    func linesWithoutRangesAreLeftOut(line: String) {
        #expect(MemoryMap("\(line)\n00001000-00001fff : System RAM").entries.count == 1)
    }

    @Test func theLastAddressDoesNotOverflow() {
        let map = MemoryMap("fd00000000-ffffffffffffffff : Reserved\n      1000-1fff : deep\n0-fff : flat")
        #expect(map.entries.map(\.range) == [0xfd_0000_0000..<UInt64.max, 0..<0x1000])
        #expect(map.entries[0].children.map(\.name) == ["deep"])
    }
}
