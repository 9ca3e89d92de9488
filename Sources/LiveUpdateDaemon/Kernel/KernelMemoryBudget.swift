// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform

/// The memory that the kernel has for preserving memory files. When it has too little, it ends processes, and luod
/// would be among them. It decides without I/O.
///
/// The kernel fills the holes of a file, and takes no page from the memory that it reserves for moveable pages (CMA),
/// which Kexec Handover uses. Pages of the file that are there must move out.
struct KernelMemoryBudget: Equatable, Sendable {
    /// The bytes for everything else that runs.
    private static let margin: UInt64 = 64 << 20

    private var left: UInt64
    /// The bytes in the reserve that may have to move out.
    private var reserved: UInt64

    /// Reads /proc/meminfo.
    ///
    /// - Throws: ENOENT without /proc.
    init() throws(LiveUpdateError) {
        do throws(SystemCallError) {
            self.init(try MemoryInformation())
        } catch {
            throw LiveUpdateError(error, "reading /proc/meminfo")
        }
    }

    init(_ memory: MemoryInformation) {
        let unusable = memory.freeInReserve.addingReportingOverflow(Self.margin).partialValue
        left = memory.available - min(memory.available, unusable)
        reserved = memory.reserve - min(memory.reserve, memory.freeInReserve)
    }

    /// Takes the memory for a file.
    ///
    /// - Returns: false when there is not so much. Nothing is taken then.
    mutating func take(size: UInt64, allocated: UInt64) -> Bool {
        let moving = min(allocated, reserved)
        let holes = size - min(size, allocated)
        let (need, isTooMuch) = holes.addingReportingOverflow(moving)
        guard !isTooMuch, need <= left else { return false }
        left -= need
        reserved -= moving
        return true
    }
}
