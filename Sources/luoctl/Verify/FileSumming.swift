// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Computes the checksums of a memory file by reading it through a mapping. Holes are not read, because
/// that would fill them.
struct FileSumming: ~Copyable {
    private let file: OwnedDescriptor
    /// The size of the file in bytes.
    let size: UInt64
    /// The size of its pages.
    let pageSize: PageSize
    /// The data, in order.
    private let extents: [Extent]

    /// Finds the data of a file.
    ///
    /// - Parameters:
    ///   - descriptor: a descriptor of the file, which the caller still owns.
    ///   - subject: the words for the file in an error.
    /// - Throws: ENOTSUP for a file that is no memory file, and the errors of opening the file again and of finding its
    ///   data.
    init(_ descriptor: FileDescriptor, _ subject: String) throws(LiveUpdateError) {
        let file: OwnedDescriptor
        do throws(SystemCallError) {
            file = try descriptor.reopenedForReading()
        } catch {
            throw LiveUpdateError(error, subject)
        }
        let found = try Self.content(of: file.borrowed, subject)
        self.init(file, found)
    }

    private init(_ file: consuming OwnedDescriptor, _ content: (UInt64, PageSize, [Extent])) {
        self.file = file
        (size, pageSize, extents) = content
    }

    /// Reads the size, the page size and the data of a file. The search for data moves the offset of `file`, so it must
    /// have an open file description of its own.
    private static func content(
        of file: FileDescriptor, _ subject: String
    ) throws(LiveUpdateError) -> (UInt64, PageSize, [Extent]) {
        do throws(SystemCallError) {
            let size = try FileStatus(of: file).size
            switch try FileSystemKind(of: file) {
            case .hugetlbfs(let bytes):
                let pageSize = PageSize(bytes: bytes) ?? .huge2M
                let pages = try HugePageMap.pages(of: file, size: size, pageSize: pageSize)
                let extents = pages.map { page in
                    Extent(offset: page.index * PageSize.base.bytes, length: pageSize.bytes)
                }
                return (size, pageSize, extents)
            case .tmpfs: return (size, .base, try dataExtents(of: file, size: size))
            case .other: break
            }
        } catch {
            throw LiveUpdateError(error, subject)
        }
        throw LiveUpdateError(
            .notSupported, "\(subject): checksums are for memory files only",
            remedy: "keep the checksum of another file beside it")
    }

    /// The length of a block of a file of this kind: 64 KiB on base pages, 2 MiB on huge pages. A large file has longer
    /// blocks.
    var blockSize: UInt64 {
        FileSums.blockSize(for: size, smallest: pageSize == .base ? 64 << 10 : PageSize.huge2M.bytes)
    }

    /// Computes the sums.
    ///
    /// - Parameters:
    ///   - blockSize: the length of a block, a power of two.
    ///   - progress: is advanced by the bytes that are done.
    /// - Returns: the sums; nil when the file has too many blocks of this length.
    /// - Throws: ENOMEM when the file cannot be mapped.
    func sums(blockSize: UInt64, _ progress: borrowing Progress) throws(SystemCallError) -> FileSums? {
        let step = max(64 << 20, pageSize.bytes, blockSize)
        var sums: [UInt32] = []
        sums.reserveCapacity(Int(FileSums.blockCount(size: size, blockSize: blockSize)))
        var rest = extents[...]
        for start in stride(from: 0, to: size, by: Int(step)) {
            let window = Extent(offset: start, length: min(step, size - start))
            let data = Self.takeData(of: window, from: &rest)
            sums += try self.sums(of: window, data, blockSize)
            progress.advance(window.length)
        }
        return FileSums(size: size, blockSize: blockSize, sums: sums)
    }

    /// The data in a window. An extent that goes on behind the window stays in `rest`.
    static func takeData(of window: Extent, from rest: inout ArraySlice<Extent>) -> [Extent] {
        var data: [Extent] = []
        while let first = rest.first, first.offset < window.end {
            let start = max(first.offset, window.offset)
            let end = min(first.end, window.end)
            if start < end { data.append(Extent(offset: start, length: end - start)) }
            if first.end > window.end { break }
            rest.removeFirst()
        }
        return data
    }

    private func sums(
        of window: Extent, _ data: [Extent], _ blockSize: UInt64
    ) throws(SystemCallError) -> [UInt32] {
        var zeros = ZeroSums()
        let starts = stride(from: window.offset, to: window.end, by: Int(blockSize))
        guard !data.isEmpty else {
            return starts.map { zeros.sum(of: min(blockSize, window.end - $0)) }
        }
        let whole = (window.length + pageSize.bytes - 1) / pageSize.bytes * pageSize.bytes
        let mapping = try Mapping(of: file.borrowed, offset: window.offset, length: whole, .privateView)
        var rest = data[...]
        return starts.map { start in
            let block = Extent(offset: start, length: min(blockSize, window.end - start))
            let pieces = Self.takeData(of: block, from: &rest)
            guard !pieces.isEmpty else { return zeros.sum(of: block.length) }
            var (sum, at): (UInt32, UInt64) = (0, start)
            for piece in pieces {
                sum = ZeroSums.sum(of: piece.offset - at, continuing: sum)
                let range = Int(piece.offset - window.offset)..<Int(piece.end - window.offset)
                // SAFETY: the range is data of the file, inside of the mapping, which lives until the end of this call.
                sum = unsafe CRC32C.of(UnsafeRawBufferPointer(rebasing: mapping.bytes[range]), continuing: sum)
                at = piece.end
            }
            return ZeroSums.sum(of: block.end - at, continuing: sum)
        }
    }
}

/// The checksums of zeros. Those of whole blocks are computed only once.
private struct ZeroSums {
    private var known: [UInt64: UInt32] = [:]
    private static let zeros = [UInt8](repeating: 0, count: 64 << 10)

    mutating func sum(of length: UInt64) -> UInt32 {
        if let sum = known[length] { return sum }
        let sum = Self.sum(of: length, continuing: 0)
        known[length] = sum
        return sum
    }

    static func sum(of length: UInt64, continuing sum: UInt32) -> UInt32 {
        var (sum, rest) = (sum, length)
        while rest > 0 {
            let count = min(rest, UInt64(zeros.count))
            sum = CRC32C.of(zeros[..<Int(count)], continuing: sum)
            rest -= count
        }
        return sum
    }
}
