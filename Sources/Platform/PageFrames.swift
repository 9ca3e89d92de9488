import Glibc
import SystemPackage

/// Page frame numbers of mapped pages, from /proc/self/pagemap (proc(5), and the kernel's admin-guide/mm/pagemap).
/// Without CAP_SYS_ADMIN the kernel shows them as 0; it asks when the file is opened, so only that is done with it.
public struct PageFrames: ~Copyable {
    private let pagemap: OwnedDescriptor

    /// Opens the page map of this process.
    ///
    /// - Throws: ENOENT without /proc, EMFILE.
    public init() throws(SystemCallError) { try self.init("/proc/self/pagemap") }

    /// Opens that of any process.
    ///
    /// - Throws: EACCES or EPERM without the right to look at it, ENOENT when it has ended.
    init(of process: CInt) throws(SystemCallError) { try self.init("/proc/\(process)/pagemap") }

    private init(_ path: String) throws(SystemCallError) {
        pagemap = try Capabilities.raising(.systemAdministration) { () throws(SystemCallError) in
            try openFile(path)
        }
    }

    /// Writes the frame of each page, all of which are mapped, where their file starts at an address.
    ///
    /// - Throws: what pread(2) answers.
    public func fill(_ pages: inout [HugePage], mappedAt address: UInt64) throws(SystemCallError) {
        let first = address / PageSize.base.bytes
        for position in pages.indices { pages[position].frame = try frame(at: first + pages[position].index) }
    }

    /// The frame of a mapped base page, by its number in this process's memory: 0 when it is not mapped.
    ///
    /// - Throws: what pread(2) answers.
    func frame(at page: UInt64) throws(SystemCallError) -> UInt64 {
        var entry: UInt64 = 0
        try unsafe read(&entry, count: 1, from: page)
        return Self.frame(entry)
    }

    /// The frames of a run of mapped base pages: 0 for those that are not mapped.
    ///
    /// - Throws: what pread(2) answers.
    public func frames(at address: UInt64, basePages count: Int) throws(SystemCallError) -> [UInt64] {
        var entries = [UInt64](repeating: 0, count: count)
        try unsafe entries.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
            guard let start = buffer.baseAddress else { return }
            try unsafe read(start, count: count, from: address / PageSize.base.bytes)
        }
        return entries.map(Self.frame)
    }

    /// The huge pages of a range that are mapped there and belong to no file, as what is written into a private mapping:
    /// each with its frame, or 0.
    ///
    /// - Throws: what pread(2) answers.
    func anonymous(in range: Range<UInt64>, pageSize: PageSize) throws(SystemCallError) -> [UInt64] {
        var frames: [UInt64] = []
        for address in stride(from: range.lowerBound, to: range.upperBound, by: Int(pageSize.bytes)) {
            var entry: UInt64 = 0
            try unsafe read(&entry, count: 1, from: address / PageSize.base.bytes)
            // Bit 61: a page of a file, or of shared memory.
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

    /// Bit 63: present. Bits 0 to 54: the frame.
    private static func frame(_ entry: UInt64) -> UInt64 { entry >> 63 == 1 ? entry & ((1 << 55) - 1) : 0 }
}
