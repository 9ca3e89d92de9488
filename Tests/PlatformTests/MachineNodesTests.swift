// SPDX-License-Identifier: Apache-2.0
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// The numbers of pools and memory on machines with nodes, without NUMA, and without huge pages.
@Suite struct MachineNodesTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private var machine: MachineNodes { MachineNodes(below: directory.path) }

    private func write(_ text: String, _ path: String) throws {
        let url = URL(fileURLWithPath: "\(directory.path)/\(path)")
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    private func writePool(_ path: String, total: Int, free: Int, surplus: Int) throws {
        let directory = "\(path)/hugepages-2048kB"
        for (name, number) in [
            ("nr_hugepages", total), ("free_hugepages", free), ("surplus_hugepages", surplus), ("resv_hugepages", 1),
            ("nr_overcommit_hugepages", 7),
        ] {
            try write("\(number)\n", "\(directory)/\(name)")
        }
    }

    private func writeWholePool() throws {
        try writePool("sys/kernel/mm/hugepages", total: 12, free: 5, surplus: 2)
        try write("MemTotal: 3000 kB\nMemAvailable:    2000 kB\n", "proc/meminfo")
    }

    @Test("Without NUMA, the machine is node 0 with all pages and all memory") func withoutNUMA() throws {
        try writeWholePool()
        let pool = try HugePagePool(.huge2M, on: machine)
        #expect(pool.total == 12)
        #expect(pool.nodes == [HugePagePool.Node(id: 0, total: 12, free: 5, surplus: 2)])
        #expect(pool.persistent(onNode: 0) == 10)
        #expect(try HugePagePool.all(on: machine) == [pool])
        #expect(try machine.numbers() == [0])
        #expect(machine.countWithMemory == 1)
        // A write for node 0 changes the whole pool.
        #expect(try machine.poolPath(.huge2M, node: 0) == machine.poolPath(.huge2M))
        #expect(try machine.availableMemory(onNode: 0) == 2000 << 10)
    }

    @Test("Without NUMA, there is no node 1") func noOtherNode() throws {
        try writeWholePool()
        #expect(try HugePagePool(.huge2M, on: machine).persistent(onNode: 1) == 0)
        #expect(throws: SystemCallError("open", .noSuchFileOrDirectory)) { try machine.availableMemory(onNode: 1) }
        #expect(try machine.poolPath(.huge2M, node: 1) != machine.poolPath(.huge2M))
    }

    @Test("With NUMA, each node has its own numbers") func nodes() throws {
        try writeWholePool()
        try write("0-1,3\n", "sys/devices/system/node/has_memory")
        for (node, total, free) in [(0, 9, 3), (1, 3, 2)] {
            try writePool("sys/devices/system/node/node\(node)/hugepages", total: total, free: free, surplus: node)
        }
        // A node without memory can be without pools.
        try write("", "sys/devices/system/node/node3/meminfo")
        try write(
            "Node 0 MemTotal: 900 kB\nNode 0 MemFree: 100 kB\nNode 0 SReclaimable: 20 kB\n",
            "sys/devices/system/node/node0/meminfo")
        let pool = try HugePagePool(.huge2M, on: machine)
        #expect(
            pool.nodes == [
                HugePagePool.Node(id: 0, total: 9, free: 3, surplus: 0),
                HugePagePool.Node(id: 1, total: 3, free: 2, surplus: 1),
            ])
        #expect(try machine.numbers() == [0, 1, 3])
        #expect(machine.countWithMemory == 3)
        #expect(try machine.poolPath(.huge2M, node: 0).contains("node/node0/"))
        #expect(try machine.availableMemory(onNode: 0) == 120 << 10)
    }

    @Test("A kernel without huge pages has no pool") func noPools() throws {
        #expect(try HugePagePool.all(on: machine) == [])
        #expect(throws: SystemCallError("open", .noSuchFileOrDirectory)) { try HugePagePool(.huge2M, on: machine) }
    }

    @Test("A failed look for the nodes does not pass for a kernel without NUMA") func faults() throws {
        try writeWholePool()
        try write("0\n", "sys/devices/system/node/has_memory")
        try writePool("sys/devices/system/node/node0/hugepages", total: 9, free: 3, surplus: 0)
        let path = try machine.poolPath(.huge2M, node: 0)
        var number = 1
        while true {
            let (found, calls) = FaultInjector.failing(call: number, with: .ioError) {
                try? machine.poolPath(.huge2M, node: 0)
            }
            if calls < number { break }
            #expect(found == nil || found == path)
            number += 1
        }
        #expect(number > 1)
    }
}
