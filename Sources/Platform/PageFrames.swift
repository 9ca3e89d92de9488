import Glibc
import SystemPackage

/// Page frame numbers of mapped pages, from /proc/self/pagemap (proc(5), and the kernel's admin-guide/mm/pagemap).
/// Without CAP_SYS_ADMIN the kernel shows them as 0; it asks when the file is opened, so only that is done with it.
public struct PageFrames: ~Copyable {
    private let pagemap: OwnedDescriptor

    /// Opens the page map of this process.
    ///
    /// - Throws: ENOENT without /proc, EMFILE.
    public init() throws(SystemCallError) {
        pagemap = try Capabilities.raising(.systemAdministration) { () throws(SystemCallError) in
            try openFile("/proc/self/pagemap")
        }
    }

    /// Writes the frame of each page, all of which are mapped, where their file starts at an address.
    ///
    /// - Throws: what pread(2) answers.
    public func fill(_ pages: inout [HugePage], mappedAt address: UInt64) throws(SystemCallError) {
        let first = address / PageSize.base.bytes
        for position in pages.indices {
            let entry = try read(count: 1, from: first + pages[position].index) { $0[0] }
            pages[position].frame = Self.frame(entry)
        }
    }

    /// The frames of a run of mapped base pages: 0 for those that are not mapped.
    ///
    /// - Throws: what pread(2) answers.
    public func frames(at address: UInt64, basePages count: Int) throws(SystemCallError) -> [UInt64] {
        try read(count: count, from: address / PageSize.base.bytes) { $0.map(Self.frame) }
    }

    private func read<Value>(
        count: Int, from page: UInt64, _ use: ([UInt64]) -> Value
    ) throws(SystemCallError) -> Value {
        var entries = [UInt64](repeating: 0, count: count)
        let length = count * MemoryLayout<UInt64>.size
        // SAFETY: the array has `length` bytes, and pread writes no more than that.
        let got = try unsafe entries.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
            try systemCall("pread") {
                unsafe pread(pagemap.borrowed.rawValue, buffer.baseAddress, length, off_t(page * 8))
            }
        }
        if got != length { throw SystemCallError("pread", .ioError) }
        return use(entries)
    }

    /// Bit 63: present. Bits 0 to 54: the frame.
    private static func frame(_ entry: UInt64) -> UInt64 { entry >> 63 == 1 ? entry & ((1 << 55) - 1) : 0 }
}
