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
        // Opening a named pipe, or a file whose server does not answer, could wait for ever. Only memory files can have
        // seals, and this question does not reach a server.
        guard (try? descriptor.seals()) != nil else { throw Self.noMemoryFile(subject) }
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
        throw noMemoryFile(subject)
    }

    private static func noMemoryFile(_ subject: String) -> LiveUpdateError {
        LiveUpdateError(
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
        // The block size of stored checksums is that of a client, and need not fit the file.
        guard FileSums.blockCount(size: size, blockSize: blockSize) <= FileSums.mostBlocks else { return nil }
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
///
/// Zeros behind some bytes multiply the remainder of a CRC by a power of x. The power takes one multiplication for each
/// bit of the length, so that a hole of terabytes takes no time.
private struct ZeroSums {
    private var known: [UInt64: UInt32] = [:]
    /// The polynomial of CRC32C, with its bits reversed.
    private static let polynomial: UInt32 = 0x82F6_3B78

    mutating func sum(of length: UInt64) -> UInt32 {
        if let sum = known[length] { return sum }
        let sum = Self.sum(of: length, continuing: 0)
        known[length] = sum
        return sum
    }

    static func sum(of length: UInt64, continuing sum: UInt32) -> UInt32 {
        var remainder = ~sum
        // The factor of one zero byte: x to the power of 8.
        var factor: UInt32 = 1 << 23
        var rest = length
        while rest > 0 {
            if rest & 1 == 1 { remainder = product(factor, remainder) }
            factor = product(factor, factor)
            rest >>= 1
        }
        return ~remainder
    }

    /// The product of two polynomials modulo the polynomial of CRC32C. The highest bit is the coefficient of 1.
    private static func product(_ left: UInt32, _ right: UInt32) -> UInt32 {
        var sum: UInt32 = 0
        var multiple = right
        for bit in (0..<32).reversed() {
            if left >> UInt32(bit) & 1 == 1 { sum ^= multiple }
            multiple = multiple & 1 == 1 ? (multiple >> 1) ^ polynomial : multiple >> 1
        }
        return sum
    }
}
