// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// The size of this machine's memory, in bytes: `_SC_PHYS_PAGES` of sysconf(3). 0 when the size is not known.
package func physicalMemory() -> UInt64 {
    UInt64(max(sysconf(Int32(_SC_PHYS_PAGES)), 0)) * UInt64(max(sysconf(Int32(_SC_PAGESIZE)), 0))
}

/// The memory that is available for new pages, in bytes: MemAvailable of /proc/meminfo (proc(5)).
///
/// - Throws: ENOENT without /proc.
package func availableMemory() throws(SystemCallError) -> UInt64 {
    let file = try openFile("/proc/meminfo")
    for line in try readText(file.borrowed, atMost: 8192).split(separator: "\n")
    where line.hasPrefix("MemAvailable:") {
        return (UInt64(line.filter(\.isNumber)) ?? 0) << 10
    }
    throw SystemCallError("read", .noData)
}

/// The memory of a NUMA node that is available for new pages, in bytes: the free memory, and the memory that file
/// contents and caches could release. A node's meminfo has no MemAvailable.
///
/// - Throws: ENOENT when there is no such node.
package func availableMemory(onNode node: Int) throws(SystemCallError) -> UInt64 {
    let text = try readWhole("/sys/devices/system/node/node\(node)/meminfo")
    let wanted: Set<Substring> = ["MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:"]
    return text.split(separator: "\n").reduce(0) { sum, line in
        // Node 0 MemFree: 1234 kB
        let fields = line.split(separator: " ")
        guard fields.count > 3, wanted.contains(fields[2]) else { return sum }
        return sum &+ (UInt64(fields[3]) ?? 0) << 10
    }
}
