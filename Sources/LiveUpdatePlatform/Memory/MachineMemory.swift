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
    /// The memory that is reserved for moveable pages (CMA); 0 without a reserve. CmaTotal does not contain the reserve
    /// of Kexec Handover, so this counts blocks of /proc/pagetypeinfo, which only root can read.
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
        let blocks = (try? readWhole("/proc/pagetypeinfo")).map { Self.reserve(in: $0) } ?? 0
        self.init(
            available: available, reserve: max(bytes("CmaTotal") ?? 0, blocks), freeInReserve: bytes("CmaFree") ?? 0)
    }

    /// The bytes of the blocks of the type CMA. The last table of the file has a line for each zone, with a number for
    /// each type.
    static func reserve(in pageTypes: String) -> UInt64 {
        let lines = pageTypes.split(separator: "\n")
        func fields(_ line: Substring) -> [Substring] { line.split(separator: " ") }
        let perBlock = lines.first { $0.hasPrefix("Pages per block:") }.flatMap { UInt64(fields($0).last ?? "") }
        guard let perBlock, let head = lines.firstIndex(where: { $0.hasPrefix("Number of blocks type") }),
            let column = fields(lines[head]).firstIndex(of: "CMA")
        else { return 0 }
        // "Number of blocks type" and "Node 0, zone DMA32" have four words each.
        let blocks = lines[(head + 1)...].reduce(UInt64(0)) { sum, line in
            let words = fields(line)
            return words.count > column ? sum &+ (UInt64(words[column]) ?? 0) : sum
        }
        let (pages, isTooMuch) = blocks.multipliedReportingOverflow(by: perBlock)
        return isTooMuch ? 0 : pages &* PageSize.base.bytes
    }
}
