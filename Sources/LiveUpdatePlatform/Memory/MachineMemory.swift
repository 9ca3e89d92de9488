// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// The size of this machine's memory, in bytes: `_SC_PHYS_PAGES` of sysconf(3). 0 when the size is not known.
package func physicalMemory() -> UInt64 {
    UInt64(max(sysconf(Int32(_SC_PHYS_PAGES)), 0)) * UInt64(max(sysconf(Int32(_SC_PAGESIZE)), 0))
}

/// The memory that is available for new pages, in bytes: MemAvailable of /proc/meminfo (proc(5)).
///
/// - Throws: ENOENT without /proc, ENODATA when the kernel does not say.
package func availableMemory() throws(SystemCallError) -> UInt64 { try MachineNodes.own.availableMemory() }
