// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// The NUMA nodes of a machine, and the files of sysfs and procfs that have their numbers.
///
/// A kernel without NUMA has no /sys/devices/system/node. Such a machine has one node here, with the number 0: the
/// pools in /sys/kernel/mm/hugepages, and the memory in /proc/meminfo, are those of this node.
package struct MachineNodes: Sendable {
    /// The nodes of this machine.
    package static let own = MachineNodes(below: "")

    private let root: String

    /// Reads the files below a directory in place of those of this machine.
    init(below root: String) { self.root = root }

    /// The numbers of the nodes, in ascending order.
    ///
    /// - Throws: EACCES.
    func numbers() throws(SystemCallError) -> [Int] {
        let names = try ifThere { () throws(SystemCallError) in try directoryEntries(nodesPath) }
        guard let names else { return [Self.only] }
        return names.compactMap { $0.hasPrefix("node") ? Int($0.dropFirst(4)) : nil }.sorted()
    }

    /// The number of nodes with memory; 1 when the kernel does not say.
    package var countWithMemory: Int {
        // The format is `0-1,3`.
        let ranges = ((try? readWhole("\(nodesPath)/has_memory")) ?? "0").split { $0 == "," || $0 == "\n" }
        return ranges.reduce(0) { sum, range in
            let ends = range.split(separator: "-").compactMap { Int($0) }
            return sum + (ends.last ?? 0) - (ends.first ?? 0) + 1
        }
    }

    /// The page sizes of the kernel's pools, smallest first; none when the kernel has no huge pages.
    ///
    /// - Throws: EACCES.
    func poolSizes() throws(SystemCallError) -> [PageSize] {
        let names = try ifThere { () throws(SystemCallError) in try directoryEntries(poolsPath) }
        return (names ?? []).compactMap(Self.pageSize).sorted()
    }

    /// The directory with the numbers of a pool, or of its part on one node.
    ///
    /// - Throws: the errors of stat(2), except ENOENT.
    func poolPath(_ pageSize: PageSize, node: Int? = nil) throws(SystemCallError) -> String {
        let name = "hugepages-\(pageSize.bytes >> 10)kB"
        guard let node, try hasFiles(of: node) else { return "\(poolsPath)/\(name)" }
        return "\(path(of: node))/hugepages/\(name)"
    }

    /// The memory of a node that is available for new pages, in bytes: the free memory, and the memory that file
    /// contents and caches could release. A node's meminfo has no MemAvailable.
    ///
    /// - Throws: ENOENT when there is no such node; on a kernel without NUMA as ``availableMemory()``.
    func availableMemory(onNode node: Int) throws(SystemCallError) -> UInt64 {
        guard try hasFiles(of: node) else { return try availableMemory() }
        let text = try readWhole("\(path(of: node))/meminfo")
        let wanted: Set<Substring> = ["MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:"]
        return text.split(separator: "\n").reduce(0) { sum, line in
            // Node 0 MemFree: 1234 kB
            let fields = line.split(separator: " ")
            guard fields.count > 3, wanted.contains(fields[2]) else { return sum }
            return sum &+ (UInt64(fields[3]) ?? 0) << 10
        }
    }

    /// The memory that is available for new pages, in bytes: MemAvailable of /proc/meminfo (proc(5)).
    ///
    /// - Throws: ENOENT without /proc, ENODATA when the kernel does not say.
    func availableMemory() throws(SystemCallError) -> UInt64 {
        let file = try openFile("\(root)/proc/meminfo")
        for line in try readText(file.borrowed, atMost: 8192).split(separator: "\n")
        where line.hasPrefix("MemAvailable:") {
            return (UInt64(line.filter(\.isNumber)) ?? 0) << 10
        }
        throw SystemCallError("read", .noData)
    }

    /// The number of the only node of a kernel without NUMA.
    private static let only = 0

    private var nodesPath: String { "\(root)/sys/devices/system/node" }
    private var poolsPath: String { "\(root)/sys/kernel/mm/hugepages" }

    private func path(of node: Int) -> String { "\(nodesPath)/node\(node)" }

    /// Whether the node has files of its own. Only the node of a kernel without NUMA has none.
    private func hasFiles(of node: Int) throws(SystemCallError) -> Bool {
        if node != Self.only { return true }
        return try ifThere { () throws(SystemCallError) in try FileStatus(at: nodesPath) } != nil
    }

    private static func pageSize(_ name: String) -> PageSize? {
        guard name.hasPrefix("hugepages-"), name.hasSuffix("kB") else { return nil }
        return UInt64(name.dropFirst(10).dropLast(2)).flatMap { PageSize(bytes: $0 << 10) }
    }
}
