// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform

/// A place for a new DAX region in the ordinary memory of a machine, for `memmap=SIZE!START`.
package struct DaxPlan: Equatable, Sendable {
    /// The region.
    package let region: Memmap
    /// The alignment of the region's start, in bytes: 1 GiB, or 128 MiB.
    package let alignment: UInt64
    /// The range of System RAM that the region is in.
    package let surroundings: Range<UInt64>
    /// The System RAM that the kernel has left, in bytes.
    package let remaining: UInt64
    /// The DAX regions that the command line already asks for.
    package let others: [Memmap]

    /// Whether the region leaves the memory below 4 GiB to devices that can address no more.
    package var isAbove4G: Bool { region.range.lowerBound >= Self.fourGigabytes }

    /// The sections in which the kernel manages memory: 128 MiB on x86-64.
    package static let section: UInt64 = 128 << 20
    /// The System RAM that a plan leaves to the kernel, at least.
    package static let spare: UInt64 = 1 << 30
    private static let gigabyte: UInt64 = 1 << 30
    private static let fourGigabytes: UInt64 = 4 << 30

    /// The reason why there is no plan.
    package enum Failure: Error, Equatable, Sendable {
        /// The addresses are hidden from this user.
        case hidden
        /// The map has no System RAM: it is not a copy of /proc/iomem.
        case noMemoryMap
        /// The size is less than one section.
        case tooSmall
        /// The size is no multiple of the section. The values are the nearest multiples; `above` is nil when there is
        /// no larger one.
        case unaligned(below: UInt64, above: UInt64?)
        /// The machine would have less than ``spare`` left. `most` is the largest possible size, or 0.
        case notEnoughMemory(systemRAM: UInt64, most: UInt64)
        /// There is so much memory, but not in one piece. `most` is the largest possible size, or 0.
        case noPlace(most: UInt64)
    }

    /// Finds the place for a region: above 4 GiB rather than below, and aligned to 1 GiB rather than to 128 MiB. Above
    /// 4 GiB the plan takes the lowest such address, and below 4 GiB the highest. The place is in System RAM. It does
    /// not overlap with a range in System RAM, such as the kernel or the memory of its crash kernel, nor with a
    /// `memmap=` of the running command line.
    ///
    /// - Parameters:
    ///   - size: the size of the region, in bytes.
    ///   - map: the memory of the machine.
    ///   - commandLine: the command line of its kernel.
    /// - Throws: the reason why there is no plan.
    package init(size: UInt64, in map: MemoryMap, commandLine: KernelCommandLine) throws(Failure) {
        guard !map.isHidden || map.entries.isEmpty else { throw .hidden }
        guard map.systemRAMSize > 0 else { throw .noMemoryMap }
        guard size >= Self.section else { throw .tooSmall }
        guard size % Self.section == 0 else {
            let below = size / Self.section * Self.section
            let (above, overflow) = below.addingReportingOverflow(Self.section)
            throw .unaligned(below: below, above: overflow ? nil : above)
        }
        let holes = Self.holes(map, commandLine)
        let largest = holes.map { Self.sections(in: $0) }.max() ?? 0
        let most = min(
            largest, map.systemRAMSize > Self.spare ? (map.systemRAMSize - Self.spare) / Self.section * Self.section : 0
        )
        guard size <= map.systemRAMSize, map.systemRAMSize - size >= Self.spare else {
            throw .notEnoughMemory(systemRAM: map.systemRAMSize, most: most)
        }
        guard let (start, alignment) = Self.place(size, in: holes),
            let surroundings = map.systemRAM.first(where: { $0.range.contains(start) })
        else { throw .noPlace(most: most) }
        self.alignment = alignment
        self.surroundings = surroundings.range
        region = Memmap(.persistent, start..<start + size)
        remaining = map.systemRAMSize - size
        others = commandLine.memmaps.filter { $0.kind == .persistent }
    }

    /// The parts of System RAM that no other range is in.
    private static func holes(_ map: MemoryMap, _ commandLine: KernelCommandLine) -> [Range<UInt64>] {
        map.systemRAM.flatMap { ram in
            let taken = ram.children.map(\.range) + commandLine.memmaps.map(\.range)
            return taken.reduce([ram.range]) { holes, range in holes.flatMap { $0.subtracting(range) } }
        }
    }

    /// The start of the region and its alignment.
    private static func place(_ size: UInt64, in holes: [Range<UInt64>]) -> (UInt64, UInt64)? {
        let high = holes.compactMap { hole in
            hole.upperBound > fourGigabytes ? max(hole.lowerBound, fourGigabytes)..<hole.upperBound : nil
        }
        for alignment in [gigabyte, section] {
            let starts = high.compactMap { hole in
                roundedUp(hole.lowerBound, to: alignment).flatMap { fits(size, at: $0, in: hole) ? $0 : nil }
            }
            if let start = starts.min() { return (start, alignment) }
        }
        // Devices that cannot address more need low memory, and most of all the lowest.
        for alignment in [gigabyte, section] {
            let starts = holes.compactMap { hole -> UInt64? in
                guard hole.upperBound >= size else { return nil }
                let start = (hole.upperBound - size) / alignment * alignment
                return fits(size, at: start, in: hole) ? start : nil
            }
            if let start = starts.max() { return (start, alignment) }
        }
        return nil
    }

    private static func fits(_ size: UInt64, at start: UInt64, in hole: Range<UInt64>) -> Bool {
        hole.lowerBound <= start && start < hole.upperBound && hole.upperBound - start >= size
    }

    /// The bytes of the whole sections in a range.
    private static func sections(in range: Range<UInt64>) -> UInt64 {
        guard let start = roundedUp(range.lowerBound, to: section), start < range.upperBound else { return 0 }
        return (range.upperBound - start) / section * section
    }

    private static func roundedUp(_ address: UInt64, to alignment: UInt64) -> UInt64? {
        let (sum, overflow) = address.addingReportingOverflow(alignment - 1)
        return overflow ? nil : sum / alignment * alignment
    }
}
