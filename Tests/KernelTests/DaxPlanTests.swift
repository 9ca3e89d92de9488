// SPDX-License-Identifier: Apache-2.0
import LiveUpdateKernel
import LiveUpdatePlatform
import Testing

@Suite struct DaxPlanTests {
    private static let gib: UInt64 = 1 << 30

    private func plan(
        _ size: UInt64, _ map: MemoryMap = serverMap, _ commandLine: String = ""
    ) throws(DaxPlan.Failure) -> DaxPlan {
        try DaxPlan(size: size, in: map, commandLine: KernelCommandLine(commandLine))
    }

    private static func map(_ text: String) -> MemoryMap { MemoryMap(text) }

    @Test(arguments: [
        // The lowest place above 4 GiB.
        ("", 64 * gib, "64G!4G"),
        // Not over the kernel, which is at 117.6 GiB, and not over another region.
        ("memmap=64G!4G", 32 * gib, "32G!68G"), ("memmap=100G!4G", 12 * gib, "12G!104G"),
        ("memmap=110G!4G", 11 * gib, "11G!118G"), ("memmap=4G$4G memmap=1G!9G", 64 * gib, "64G!10G"),
        // The lowest address that is aligned to 1 GiB goes before a lower one that is not.
        ("memmap=128M!4G", 1 * gib, "1G!5G"),
        // Only below 4 GiB is there a place: the highest one. The crash kernel is from 688 to 1456 MiB.
        ("memmap=126G!4G", 256 << 20, "256M!384M"), ("memmap=126G!4G", 128 << 20, "128M!1536M"),
    ])
    func placeIsFree(commandLine: String, size: UInt64, region: String) throws {
        let plan = try plan(size, serverMap, commandLine)
        #expect(plan.region.description == region)
        #expect(plan.remaining == serverMap.systemRAMSize - size)
        #expect(plan.others.allSatisfy { !$0.range.overlaps(plan.region.range) })
        #expect(plan.isAbove4G == (plan.region.range.lowerBound >= 4 << 30))
        for entry in serverMap.systemRAM.flatMap(\.children) { #expect(!entry.range.overlaps(plan.region.range)) }
    }

    @Test func alignmentIsTheStarts() throws {
        #expect(try plan(Self.gib).alignment == Self.gib)
        // One place of 1 GiB, between 4.125 and 5.25 GiB.
        let map = Self.map("00000000-7fffffff : System RAM\n  00000000-7fffffff : x\n108000000-14fffffff : System RAM")
        let unaligned = try plan(Self.gib, map)
        #expect(unaligned.region.description == "1G!4224M")
        #expect(unaligned.alignment == 128 << 20)
    }

    @Test func failuresSayWhatWouldBePossible() {
        #expect(throws: DaxPlan.Failure.tooSmall) { try plan(64 << 20) }
        #expect(throws: DaxPlan.Failure.tooSmall) { try plan(0) }
        #expect(throws: DaxPlan.Failure.unaligned(below: 128 << 20, above: 256 << 20)) { try plan(200 << 20) }
        #expect(throws: DaxPlan.Failure.unaligned(below: UInt64.max - (128 << 20) + 1, above: nil)) { try plan(.max) }
        let most: UInt64 = 0x1d_6800_0000 - (4 << 30)
        #expect(throws: DaxPlan.Failure.notEnoughMemory(systemRAM: serverMap.systemRAMSize, most: most)) {
            try plan(128 << 30)
        }
        #expect(throws: DaxPlan.Failure.noPlace(most: most)) { try plan(120 << 30) }
        #expect(throws: DaxPlan.Failure.hidden) { try plan(Self.gib, Self.map("00000000-00000000 : System RAM")) }
        #expect(throws: DaxPlan.Failure.noMemoryMap) { try plan(Self.gib, Self.map("")) }
        #expect(throws: DaxPlan.Failure.noMemoryMap) { try plan(Self.gib, Self.map("1000-ffff : Reserved")) }
    }

    @Test func kernelKeepsMemory() {
        let map = Self.map("100000000-17fffffff : System RAM")
        #expect((try? plan(Self.gib, map))?.region.description == "1G!4G")
        #expect(throws: DaxPlan.Failure.notEnoughMemory(systemRAM: 2 << 30, most: 1 << 30)) {
            try plan(Self.gib + (128 << 20), map)
        }
        let small = Self.map("100000000-120000000 : System RAM")
        #expect(throws: DaxPlan.Failure.notEnoughMemory(systemRAM: (512 << 20) + 1, most: 0)) {
            try plan(128 << 20, small)
        }
    }

    @Test(
        "A further region gets another label and mount point than those that are there",
        arguments: [
            (0, [], nil, "luo-dax", "/mnt/dax"), (1, ["/", "/mnt/dax"], nil, "luo-dax2", "/mnt/dax2"),
            (1, ["/srv"], nil, "luo-dax2", "/mnt/dax2"), (2, ["/mnt/dax", "/mnt/dax3"], nil, "luo-dax4", "/mnt/dax4"),
            // A mount that is on no region.
            (0, ["/mnt/dax"], nil, "luo-dax2", "/mnt/dax2"), (1, ["/mnt/dax2"], "/srv", "luo-dax2", "/srv"),
        ] as [(Int, Set<String>, String?, String, String)])
    func names(others: Int, mountPoints: Set<String>, mount: String?, label: String, point: String) {
        let names = DaxPlanNames(others: others, mountPoints: mountPoints, mount: mount)
        #expect(names.label == label && names.mount == point && names.isOnlyDisk == (others == 0))
    }
}
