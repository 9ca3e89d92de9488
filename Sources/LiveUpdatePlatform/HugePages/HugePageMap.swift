// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
package import SystemPackage

/// One huge page of a file: its place in the file and, if this process may know it, its place in memory.
package struct HugePage: Hashable, Sendable {
    /// The offset in base pages from the start of the file.
    package var index: UInt64
    /// The page frame number of its first base page; 0 when this process may not know it.
    package var frame: UInt64

    /// Makes a huge page.
    package init(index: UInt64, frame: UInt64) {
        self.index = index
        self.frame = frame
    }
}

/// Finds the pages of a hugetlb file that exist, without allocating one. It also works for sealed and read-only
/// descriptors, and when the pool has no free page.
///
/// The usual calls do not work: `SEEK_DATA` and mincore(2) are wrong for hugetlb, and cachestat(2) refuses it. Reading
/// a hole through a mapping fills it, and a plain shared mapping reserves a page for every hole.
///
/// This uses a private mapping without reservation, userfaultfd(2) in minor mode, and `UFFDIO_CONTINUE`
/// (ioctl_userfaultfd(2)). That call maps a page that is in the page cache, and fails with EFAULT for a hole. The
/// frames come from /proc/self/pagemap (proc(5)) of that mapping.
package enum HugePageMap {
    /// Finds the pages that exist, with a whole ``HugePageScan``.
    ///
    /// - Parameters:
    ///   - descriptor: a file on hugetlbfs.
    ///   - size: the size of the file in bytes. The last page may be cut.
    ///   - pageSize: the page size of its file system.
    /// - Returns: the pages, in the order of the file.
    /// - Throws: the errors of ``HugePageScan``.
    package static func pages(
        of descriptor: FileDescriptor, size: UInt64, pageSize: PageSize
    ) throws(SystemCallError) -> [HugePage] {
        var scan = try HugePageScan(of: descriptor, size: size, pageSize: pageSize)
        while try !scan.step() {}
        return scan.pages
    }
}

/// A search for the pages of a hugetlb file, in steps of bounded time.
///
/// The kernel has no call that jumps over a hole. Each huge page of the file's size therefore takes a system call
/// (about 0.7 µs), except the later pages of a run of existing pages. A file of at most ``exactLimit`` pages is
/// searched whole, so the result is exact. The search of a larger file ends when it has found as many pages as
/// `st_blocks` of stat(2) counts. It looks at both ends first, then at the middle, at the quarters, and so on, and
/// follows each run that it finds to both of its ends. A page that `st_blocks` does not count may be missed in a larger
/// file.
package struct HugePageScan: ~Copyable {
    /// The largest file, in pages, that is searched whole. The search of 8,192 holes takes about 6 ms.
    package static let exactLimit: UInt64 = 8192

    /// The mapped file, the userfaultfd that finds its pages, and the map of their frames.
    private final class Area {
        let view: Mapping
        let userfault: OwnedDescriptor
        let frames: PageFrames

        init(_ view: consuming Mapping, _ userfault: consuming OwnedDescriptor) throws(SystemCallError) {
            frames = try PageFrames()
            self.view = view
            self.userfault = userfault
        }
    }

    /// A run of pages that exist. More may follow on one side.
    private struct Run {
        var pages: Range<UInt64>
        var isGrowingUp = true
    }

    private let area: Area?
    private let pageSize: PageSize
    /// The file's size in pages.
    private let count: UInt64
    private let isExact: Bool
    /// How many pages the search has yet to find; `.max` for an exact search.
    private var missing: UInt64
    private var order: ProbeOrder
    private var growing: Run?
    /// The pages that were found, in no order.
    private var found: [HugePage] = []
    /// Whether the search is over.
    package private(set) var isComplete: Bool

    /// Prepares a search.
    ///
    /// - Parameters:
    ///   - descriptor: a file on hugetlbfs.
    ///   - size: the size of the file in bytes. The last page may be cut.
    ///   - pageSize: the page size of its file system.
    /// - Throws: EPERM, ENOSYS or EINVAL where userfaultfd is not allowed, not built in or too old
    ///   (``UserfaultObstacle``); ENOMEM, EMFILE.
    package init(of descriptor: FileDescriptor, size: UInt64, pageSize: PageSize) throws(SystemCallError) {
        let count = size / pageSize.bytes + (size % pageSize.bytes == 0 ? 0 : 1)
        let isExact = count <= Self.exactLimit
        let missing = isExact ? .max : try FileStatus(of: descriptor).allocated / pageSize.bytes
        let isComplete = count == 0 || missing == 0
        area = isComplete ? nil : try Self.map(descriptor, count, pageSize)
        (self.pageSize, self.count, self.isExact) = (pageSize, count, isExact)
        (self.missing, self.isComplete) = (missing, isComplete)
        order = isExact ? .ascending(count) : .halving(count)
    }

    private static func map(
        _ descriptor: FileDescriptor, _ count: UInt64, _ pageSize: PageSize
    ) throws(SystemCallError) -> Area {
        // The length is in whole pages, because munmap(2) refuses others.
        let (length, isTooLarge) = count.multipliedReportingOverflow(by: pageSize.bytes)
        guard !isTooLarge else { throw SystemCallError("mmap", .noMemory) }
        let view = try Mapping(of: descriptor, length: length, .privateView)
        let userfault = try openUserfault()
        let (number, address) = (userfault.borrowed.rawValue, view.address)
        try systemCall("UFFDIO_REGISTER") { cshims_userfault_register_minor(number, address, length) }
        return try Area(view, userfault)
    }

    /// The pages that were found, in the order of the file. Once the search is complete, these are all pages.
    package var pages: [HugePage] { found.sorted { $0.index < $1.index } }

    /// Continues the search.
    ///
    /// - Parameter places: how many pages or holes this step may look at. Each takes about a microsecond.
    /// - Returns: whether the search is complete.
    /// - Throws: ENOMEM, EAGAIN, and the errors of pread(2); ECANCELED by a ``Cancellation``.
    package mutating func step(_ places: UInt64 = 4096) throws(SystemCallError) -> Bool {
        try Cancellation.check()
        var left = places
        while !isComplete, left > 0 {
            left -= min(left, try look(left))
        }
        return isComplete
    }

    /// Looks at some places.
    ///
    /// - Returns: how many places it looked at.
    private mutating func look(_ limit: UInt64) throws(SystemCallError) -> UInt64 {
        guard let run = growing else { return try probe(limit) }
        return try run.isGrowingUp ? growUp(run, limit) : growDown(run)
    }

    /// Looks at the next places in the order, until a page is found.
    private mutating func probe(_ limit: UInt64) throws(SystemCallError) -> UInt64 {
        guard let series = order.series, let area else {
            isComplete = true
            return 1
        }
        var search = cshims_search()
        (search.next, search.end, search.stride) = (series.next, series.end, series.stride)
        let (userfault, address) = (area.userfault.borrowed.rawValue, area.view.address)
        let (page, end) = (pageSize.bytes, count)
        // The C function injects faults itself, at each place.
        if unsafe cshims_userfault_search(userfault, address, page, end, limit, &search) == -1 {
            throw SystemCallError("UFFDIO_CONTINUE", currentErrno())
        }
        order.move(to: search.next)
        if search.pages > 0 {
            let run = search.found..<search.found + search.pages
            try take(run)
            growing = Run(pages: run)
        }
        return search.looked + search.pages
    }

    /// Follows a run up to its end. An exact search has already looked at the places below the run.
    private mutating func growUp(_ run: Run, _ limit: UInt64) throws(SystemCallError) -> UInt64 {
        let (start, end) = (run.pages.lowerBound, run.pages.upperBound)
        let mapped = end < count ? try map(from: end, limit) : 0
        if mapped > 0 {
            try take(end..<end + mapped)
            growing = Run(pages: start..<end + mapped)
        } else {
            order.skip(to: end)
            growing = isExact || start == 0 ? nil : Run(pages: start..<end, isGrowingUp: false)
        }
        return mapped + 1
    }

    /// Follows a run down to its start, page by page.
    private mutating func growDown(_ run: Run) throws(SystemCallError) -> UInt64 {
        let below = run.pages.lowerBound - 1
        growing = nil
        guard try map(from: below, 1) == 1 else { return 1 }
        try take(below..<below + 1)
        if below > 0 { growing = Run(pages: below..<run.pages.upperBound, isGrowingUp: false) }
        return 1
    }

    private mutating func take(_ pages: Range<UInt64>) throws(SystemCallError) {
        guard let area, !pages.isEmpty else { return }
        // An exact search does not count pages.
        if !isExact { missing -= min(missing, UInt64(pages.count)) }
        if missing == 0 { isComplete = true }
        for page in pages {
            let index = page * pageSize.basePages
            let frame = try area.frames.frame(at: area.view.address / PageSize.base.bytes + index)
            found.append(HugePage(index: index, frame: frame))
        }
    }

    /// Maps pages until the first hole, the first page that is mapped already, or a limit, and returns how many.
    private func map(from index: UInt64, _ limit: UInt64) throws(SystemCallError) -> UInt64 {
        guard let area else { return 0 }
        let (address, userfault) = (area.view.address + index * pageSize.bytes, area.userfault.borrowed.rawValue)
        let length = min(count - index, limit) * pageSize.bytes
        var mapped: Int64 = 0
        do throws(SystemCallError) {
            try systemCall("UFFDIO_CONTINUE") {
                unsafe cshims_userfault_continue(userfault, address, length, &mapped)
            }
        } catch {
            switch error.errno {
            // Some pages were mapped before the first page that could not be mapped.
            case .resourceTemporarilyUnavailable where mapped > 0: break
            // The first page is a hole, or is mapped already.
            case .badAddress, .fileExists: return 0
            default: throw error
            }
        }
        return UInt64(mapped) / pageSize.bytes
    }
}

/// The order in which a search looks at the places of a file. It is a sequence of series, and the places of each series
/// have the same distance.
struct ProbeOrder: Equatable {
    /// The places `next`, `next + stride` and so on, below `end`.
    struct Series: Equatable {
        var next: UInt64
        var end: UInt64
        var stride: UInt64 = 1
    }

    /// The places to look at next; nil after the last place.
    private(set) var series: Series?
    /// The number of places.
    private let count: UInt64
    private let isHalving: Bool

    /// All places from the first to the last.
    static func ascending(_ count: UInt64) -> ProbeOrder {
        ProbeOrder(series: Series(next: 0, end: count), count: count, isHalving: false)
    }

    /// The first, the last, the middle, the quarters, the eighths, and so on, each once.
    static func halving(_ count: UInt64) -> ProbeOrder {
        ProbeOrder(series: Series(next: 0, end: min(count, 1)), count: count, isHalving: true)
    }

    private init(series: Series, count: UInt64, isHalving: Bool) {
        (self.series, self.count, self.isHalving) = (series, count, isHalving)
        move(to: 0)
    }

    /// Continues with a place of this series or, beyond its end, with the next series.
    mutating func move(to next: UInt64) {
        guard var now = series else { return }
        now.next = max(now.next, next)
        while now.next >= now.end {
            guard let following = follower(of: now) else {
                series = nil
                return
            }
            now = following
        }
        series = now
    }

    private func follower(of series: Series) -> Series? {
        guard isHalving, count > 1 else { return nil }
        if series.end == 1 { return Series(next: count - 1, end: count) }
        guard count > 2 else { return nil }
        // The next places are the odd multiples of a power of two. The even multiples were those of larger powers. The
        // last place was the second.
        let power = series.end == count ? 1 << (63 - UInt64((count - 2).leadingZeroBitCount)) : series.stride / 4
        return power > 0 ? Series(next: power, end: count - 1, stride: 2 * power) : nil
    }

    /// Skips the places up to `index`. It does nothing when the order is not ascending.
    mutating func skip(to index: UInt64) { if !isHalving { move(to: index + 1) } }
}
