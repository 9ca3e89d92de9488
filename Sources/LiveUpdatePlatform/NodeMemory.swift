// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// The memory of a NUMA node that is available for new pages, in bytes: the free memory, and the memory that file
/// contents and caches could release. A node's meminfo has no MemAvailable.
///
/// - Throws: ENOENT when there is no such node.
public func availableMemory(onNode node: Int) throws(SystemCallError) -> UInt64 {
    let text = try readWhole("/sys/devices/system/node/node\(node)/meminfo")
    let wanted: Set<Substring> = ["MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:"]
    return text.split(separator: "\n").reduce(0) { sum, line in
        // Node 0 MemFree: 1234 kB
        let fields = line.split(separator: " ")
        guard fields.count > 3, wanted.contains(fields[2]) else { return sum }
        return sum &+ (UInt64(fields[3]) ?? 0) << 10
    }
}
