// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import Testing

extension TestFile {
    /// The existing pages of a hugetlb file, found in another way than the handler's: each page that is known to exist
    /// gets an independent shared mapping, is touched, and its entry in /proc/self/pagemap is read.
    func frames(ofHugePages pages: [UInt64], _ pageSize: PageSize = .huge2M) throws -> [UInt64] {
        let pagemap = try openFile("/proc/self/pagemap")
        var frames: [UInt64] = []
        for page in pages {
            let mapping = try Mapping(
                of: descriptor, offset: page * pageSize.bytes, length: pageSize.bytes, .shared(writable: false))
            #expect(unsafe mapping.bytes.load(as: UInt64.self) == Self.word(of: page))
            var entry: UInt64 = 0
            let count = try unsafe withUnsafeMutableBytes(of: &entry) { buffer in
                try unsafe pagemap.borrowed.read(fromAbsoluteOffset: Int64(mapping.address / 4096 * 8), into: buffer)
            }
            #expect(count == 8)
            frames.append(entry >> 63 == 1 ? entry & ((1 << 55) - 1) : 0)
        }
        return frames
    }
}

/// The numbers of the pool that an allocation changes.
struct PoolCounters: Equatable {
    let free: UInt64
    let reserved: UInt64
    let total: UInt64

    init(_ pageSize: PageSize) throws {
        let pool = try HugePagePool(pageSize)
        free = pool.free
        reserved = pool.reserved
        total = pool.total
    }
}

/// Expects that `body` does not change the pool. The pool belongs to the whole machine. In another attempt a change by
/// another process disappears, and a change by `body` comes again.
func expectPoolUntouched(_ pageSize: PageSize = .huge2M, _ body: () throws -> Void) throws {
    var seen: [PoolCounters] = []
    for _ in 0..<5 {
        seen = [try PoolCounters(pageSize)]
        try body()
        seen.append(try PoolCounters(pageSize))
        if seen[0] == seen[1] { return }
    }
    #expect(seen[0] == seen[1])
}
