// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// The HugeTLB FLB: one state of the pools for all hugetlb files.
@Suite struct HugeTLBTests {
    private let machine: Machine

    init() throws { machine = try Machine() }

    /// The FLB in the published tree.
    private func published() throws -> LuoTree.FLB {
        let arena = try machine.openArena()
        let tree = try LuoTreeReader(arena: arena, range: try #require(arena.outgoingTree)).read()
        return try #require(tree.flbs.first { $0.record.name == "hugetlb-v1" })
    }

    @Test("hugetlb-v1 has 37 bytes, with the sum over all files of all sessions", .requiresHugePages(8))
    func record() throws {
        let boot = try machine.standardBoot()
        let files = try [[0, 4, 5], [1], [], [0, 1]].map { try TestFile(pages: $0, of: 6, pageSize: .huge2M) }
        let sessions = [try boot.orchestrator.createSession("a"), try boot.orchestrator.createSession("b")]
        for (index, file) in files.enumerated() {
            try sessions[index % 2].preserve(file.descriptor, token: UInt64(index))
        }
        let ordinary = try TestFile(pages: [0], of: 1)
        try sessions[0].preserve(ordinary.descriptor, token: 9)
        try boot.orchestrator.publish()

        let flb = try published()
        #expect(flb.record.count == 4)
        let bytes = try machine.bytes(at: flb.record.data, count: 37)
        #expect(bytes == nativeBytes(6 as UInt64) + [9] + [UInt8](repeating: 0, count: 27) + [1])
        let next = try machine.standardBoot()
        try next.orchestrator.withIncoming(next.hugeTLB) { state in
            #expect(state.pagesPreserved(of: .huge2M) == 6)
            #expect(state.pagesPreserved(of: .huge1G) == 0)
        }
    }

    @Test(.requiresHugePages(2)) func withoutAPageThePoolIsStillNamed() throws {
        let boot = try machine.standardBoot()
        let file = try TestFile(size: 4 << 21, pageSize: .huge2M)
        try boot.orchestrator.createSession("a").preserve(file.descriptor, token: 1)
        try boot.orchestrator.publish()
        let bytes = try machine.bytes(at: try published().record.data, count: 37)
        #expect(bytes == nativeBytes(0 as UInt64) + [9] + [UInt8](repeating: 0, count: 27) + [1])
    }

    @Test(.requiresHugePages(2)) func thePoolsAreRecordedAsTheyAreSet() throws {
        let file = try TestFile(pages: [0], of: 2, pageSize: .huge2M)
        let before = HugeTLBSettings(try HugePagePool.all())
        let carried = try machine.carry(file) { boot in
            let held = try boot.orchestrator.withOutgoing(boot.hugeTLB) { $0?.settings }
            #expect(held == before)
        }
        let came = try carried.boot.orchestrator.withIncoming(carried.boot.hugeTLB) { $0.settings }
        #expect(came == before)
        #expect(came.pools.contains { $0.pageSize == .huge2M && $0.nodes.values.reduce(0, +) == $0.persistent })
    }

    /// The reported change of one setting for 2 MiB pages.
    private func change(
        _ setting: HugeTLBState.Change.Setting, _ state: HugeTLBState?
    ) throws(LiveUpdateError) -> HugeTLBState.Change? {
        try state?.changes().first { $0.pageSize == .huge2M && $0.setting == setting }
    }

    private func expect(
        _ expected: HugeTLBState.Change?, _ setting: HugeTLBState.Change.Setting, held boot: StandardBoot
    ) throws {
        let found = try boot.orchestrator.withOutgoing(boot.hugeTLB) { (state) throws(LiveUpdateError) in
            try change(setting, state)
        }
        #expect(found == expected)
    }

    private func expect(
        _ expected: HugeTLBState.Change?, _ setting: HugeTLBState.Change.Setting, came boot: StandardBoot
    ) throws {
        let found = try boot.orchestrator.withIncoming(boot.hugeTLB) { (state) throws(LiveUpdateError) in
            try change(setting, state)
        }
        #expect(found == expected)
    }

    /// Raises the overcommit while a body runs, and then lowers it by the same amount.
    private func overcommitting(_ more: UInt64, _ body: () throws -> Void) throws {
        try HugePagePool.setOvercommit(try HugePagePool(.huge2M).overcommit + more, of: .huge2M)
        defer { try? HugePagePool.setOvercommit(HugePagePool(.huge2M).overcommit - more, of: .huge2M) }
        try body()
    }

    private func growing(_ more: UInt64, _ body: () throws -> Void) throws {
        try HugePagePool.setPersistent(try HugePagePool(.huge2M).total + more, of: .huge2M)
        defer { try? HugePageReservation.giveBack(more, of: .huge2M) }
        try body()
    }

    @Test(.requiresPoolRights(2)) func aChangedOvercommitIsReported() throws {
        let was = try HugePagePool(.huge2M).overcommit
        let expected = HugeTLBState.Change(
            pageSize: .huge2M, setting: .overcommit, was: was, now: was + 3, mended: was)
        try machine.carryAndChange { boot in
            try expect(nil, .overcommit, held: boot)
            try overcommitting(3) {
                try expect(expected, .overcommit, held: boot)
            }
        } afterwards: { boot in
            try expect(nil, .overcommit, came: boot)
            try overcommitting(3) {
                try expect(expected, .overcommit, came: boot)
            }
        }
        #expect(expected.description.contains("nr_overcommit_hugepages was \(was) and is \(was + 3)"))
        #expect(try HugePagePool(.huge2M).overcommit == was)
    }

    @Test(.requiresPoolRights(2)) func aChangedSizeIsReported() throws {
        let was = try HugePagePool(.huge2M).persistent
        let expected = HugeTLBState.Change(pageSize: .huge2M, setting: .persistent, was: was, now: was + 2, mended: was)
        try machine.carryAndChange { boot in
            try growing(2) {
                try expect(expected, .persistent, held: boot)
            }
        } afterwards: { boot in
            try growing(2) {
                try expect(expected, .persistent, came: boot)
            }
            try expect(nil, .persistent, came: boot)
        }
    }

    @Test(
        "Retrieve restores changed settings, only with permission", .requiresPoolRights(2), arguments: [false, true])
    func mending(_ allowed: Bool) throws {
        let file = try TestFile(pages: [0], of: 1, pageSize: .huge2M)
        let first = try machine.standardBoot()
        try first.orchestrator.createSession("s").preserve(file.descriptor, token: 1)
        try first.orchestrator.publish()
        let was = try HugePagePool(.huge2M)
        defer {
            try? HugePagePool.setOvercommit(was.overcommit, of: .huge2M)
            try? HugePagePool.setPersistent(was.persistent, of: .huge2M)
        }
        try HugePagePool.setOvercommit(was.overcommit + 2, of: .huge2M)
        try HugePagePool.setPersistent(was.persistent + 1, of: .huge2M)

        let next = try machine.standardBoot(mendingPools: allowed)
        try next.orchestrator.withIncoming(next.hugeTLB) { _ in }
        let now = try HugePagePool(.huge2M)
        #expect(now.overcommit == was.overcommit + (allowed ? 0 : 2))
        #expect(now.persistent == was.persistent + (allowed ? 0 : 1))
    }

    @Test("Mending never goes below the number of preserved pages") func mendingKeepsWhatIsInUse() throws {
        let pools = try HugePagePool.all()
        guard let pool = pools.first(where: { $0.pageSize == .huge2M }) else { return }
        var settings = HugeTLBSettings(pools)
        for index in settings.pools.indices { settings.pools[index].persistent = pool.persistent + 10 }
        func mended(preserved: UInt64) throws -> UInt64? {
            let state = HugeTLBState(settings: settings, preserved: HugeTLBRecord(pages: [.huge2M: preserved]))
            return try change(.persistent, state)?.mended
        }
        #expect(try mended(preserved: 0) == pool.persistent + 10)
        #expect(try mended(preserved: pool.persistent + 50) == pool.persistent + 50)
    }
}

extension Machine {
    /// Calls `held` while a hugetlb file is held, and `afterwards` in the boot that retrieves it.
    fileprivate func carryAndChange(
        _ held: (StandardBoot) throws -> Void, afterwards: (StandardBoot) throws -> Void
    ) throws {
        let carried = try carry(try TestFile(pages: [0], of: 1, pageSize: .huge2M), held)
        try afterwards(carried.boot)
    }
}
