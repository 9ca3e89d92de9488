// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The size of this machine's memory, in bytes: `_SC_PHYS_PAGES` of sysconf(3). 0 when the size is not known.
public func physicalMemory() -> UInt64 {
    UInt64(max(sysconf(Int32(_SC_PHYS_PAGES)), 0)) * UInt64(max(sysconf(Int32(_SC_PAGESIZE)), 0))
}
