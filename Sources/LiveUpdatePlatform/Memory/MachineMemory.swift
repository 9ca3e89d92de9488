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

/// The numbers of /proc/meminfo (proc(5)) that decide how much memory the kernel can preserve, in bytes.
package struct MemoryInformation: Equatable, Sendable {
    /// The memory that is available for new pages: MemAvailable. It contains ``freeInReserve``.
    package var available: UInt64
    /// The memory that is reserved for moveable pages: CmaTotal; 0 without a reserve.
    package var reserve: UInt64
    /// The part of the reserve that is free: CmaFree.
    package var freeInReserve: UInt64

    /// Makes numbers, for tests.
    package init(available: UInt64, reserve: UInt64 = 0, freeInReserve: UInt64 = 0) {
        (self.available, self.reserve, self.freeInReserve) = (available, reserve, freeInReserve)
    }

    /// Reads the file.
    ///
    /// - Throws: ENOENT without /proc, ENODATA when the kernel does not say.
    package init() throws(SystemCallError) {
        let lines = try readWhole("/proc/meminfo").split(separator: "\n")
        func bytes(_ name: String) -> UInt64? {
            let line = lines.first { $0.hasPrefix(name + ":") }
            return line.flatMap { UInt64($0.filter(\.isNumber)) }.map { $0 << 10 }
        }
        guard let available = bytes("MemAvailable") else { throw SystemCallError("read", .noData) }
        self.init(available: available, reserve: bytes("CmaTotal") ?? 0, freeInReserve: bytes("CmaFree") ?? 0)
    }
}
