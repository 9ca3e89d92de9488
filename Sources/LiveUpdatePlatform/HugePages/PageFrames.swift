// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// Page frame numbers of mapped pages, from /proc/self/pagemap (proc(5), and the kernel's admin-guide/mm/pagemap).
/// Without CAP_SYS_ADMIN the kernel shows them as 0. It checks the capability when the file is opened, so the
/// capability is raised only for that. On a kernel without page maps (CONFIG_PROC_PAGE_MONITOR), all frames of this
/// process are 0, too.
package struct PageFrames: ~Copyable {
    private let pagemap: OwnedDescriptor

    /// Opens the page map of this process.
    ///
    /// - Throws: EACCES, EMFILE; ENOENT when /dev/zero is missing, too.
    package init() throws(SystemCallError) {
        do throws(SystemCallError) {
            try self.init("/proc/self/pagemap")
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
            // Each entry that is read from there is 0.
            try self.init("/dev/zero")
        }
    }

    /// Opens the page map of any process.
    ///
    /// - Throws: EACCES or EPERM without the right to look at the process, ENOENT when it has ended.
    init(of process: CInt) throws(SystemCallError) { try self.init("/proc/\(process)/pagemap") }

    private init(_ path: String) throws(SystemCallError) {
        pagemap = try Capabilities.raising(.systemAdministration) { () throws(SystemCallError) in
            try openFile(path)
        }
    }

    /// Sets the frame of each page. The file of the pages is mapped from `address` on, and all of the pages are mapped.
    ///
    /// - Throws: the errors of pread(2).
    package func fill(_ pages: inout [HugePage], mappedAt address: UInt64) throws(SystemCallError) {
        let first = address / PageSize.base.bytes
        for position in pages.indices { pages[position].frame = try frame(at: first + pages[position].index) }
    }

    /// The frame of a mapped base page, by the page's number in this process's memory; 0 when it is not mapped.
    ///
    /// - Throws: the errors of pread(2).
    func frame(at page: UInt64) throws(SystemCallError) -> UInt64 {
        var entry: UInt64 = 0
        try unsafe read(&entry, count: 1, from: page)
        return Self.frame(entry)
    }

    /// The frames of a run of base pages; 0 for each page that is not mapped.
    ///
    /// - Throws: the errors of pread(2).
    package func frames(at address: UInt64, basePages count: Int) throws(SystemCallError) -> [UInt64] {
        var entries = [UInt64](repeating: 0, count: count)
        try unsafe entries.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
            guard let start = buffer.baseAddress else { return }
            try unsafe read(start, count: count, from: address / PageSize.base.bytes)
        }
        return entries.map(Self.frame)
    }

    /// The frames of the huge pages in a range that belong to no file, such as pages that were written in a private
    /// mapping. A frame is 0 when this process may not know it.
    ///
    /// - Throws: the errors of pread(2).
    func anonymous(in range: Range<UInt64>, pageSize: PageSize) throws(SystemCallError) -> [UInt64] {
        var frames: [UInt64] = []
        for address in stride(from: range.lowerBound, to: range.upperBound, by: Int(pageSize.bytes)) {
            var entry: UInt64 = 0
            try unsafe read(&entry, count: 1, from: address / PageSize.base.bytes)
            // Bit 61 marks a page of a file or of shared memory.
            if entry >> 63 == 1, entry >> 61 & 1 == 0 { frames.append(Self.frame(entry)) }
        }
        return frames
    }

    @unsafe
    private func read(
        _ entries: UnsafeMutablePointer<UInt64>, count: Int, from page: UInt64
    ) throws(SystemCallError) {
        let length = count * MemoryLayout<UInt64>.size
        // SAFETY: callers give room for `count` entries, and pread writes no more than that.
        let got = try systemCall("pread") {
            unsafe pread(pagemap.borrowed.rawValue, entries, length, off_t(page * 8))
        }
        if got != length { throw SystemCallError("pread", .ioError) }
    }

    /// The frame of an entry: bits 0 to 54. Bit 63 marks a present page.
    private static func frame(_ entry: UInt64) -> UInt64 { entry >> 63 == 1 ? entry & ((1 << 55) - 1) : 0 }
}
