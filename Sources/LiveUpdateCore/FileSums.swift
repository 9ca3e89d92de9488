// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateHandover
import LiveUpdatePlatform

/// The checksums of a file: the CRC32C of each block. Holes count as zeros. The last block ends with the file.
///
/// A client computes the sums, and luod stores them with a preserved file: see docs/verify.md.
package struct FileSums: Equatable, Sendable {
    /// The size of the file in bytes.
    package let size: UInt64
    /// The length of a block in bytes: a power of two from 4096 to 2^46.
    package let blockSize: UInt64
    /// The sum of each block, in order.
    package let sums: [UInt32]

    /// The most blocks of a file. A larger file has larger blocks.
    package static let mostBlocks: UInt64 = 1 << 18
    /// The most bytes of a record.
    package static let mostBytes = headerLength + 4 * Int(mostBlocks)
    private static let headerLength = 24

    /// The number of blocks of a file.
    package static func blockCount(size: UInt64, blockSize: UInt64) -> UInt64 {
        size / blockSize + (size % blockSize == 0 ? 0 : 1)
    }

    /// The length of a block for a file: `smallest`, doubled until the file has few enough blocks. `smallest` is a
    /// power of two.
    package static func blockSize(for size: UInt64, smallest: UInt64) -> UInt64 {
        var blockSize = smallest
        while blockCount(size: size, blockSize: blockSize) > mostBlocks { blockSize *= 2 }
        return blockSize
    }

    /// Makes sums; nil if they do not fit to each other.
    package init?(size: UInt64, blockSize: UInt64, sums: [UInt32]) {
        guard blockSize.nonzeroBitCount == 1, 4096...1 << 46 ~= blockSize, sums.count <= Self.mostBlocks,
            Self.blockCount(size: size, blockSize: blockSize) == UInt64(sums.count)
        else { return nil }
        self.size = size
        self.blockSize = blockSize
        self.sums = sums
    }

    // MARK: As a record

    /// `u64 size, u64 length of a block, u64 n, n × u32 CRC32C`
    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Self.headerLength + 4 * sums.count)
        writer.put(size)
        writer.put(blockSize)
        writer.put(UInt64(sums.count))
        for sum in sums { writer.put(sum) }
        return writer.bytes
    }

    /// Reads a record, and ignores the bytes behind it.
    ///
    /// - Throws: `record` for a record that is cut or contradicts itself.
    package init(_ bytes: [UInt8]) throws(ArenaError) {
        var reader = ByteReader(bytes, "sums of a file")
        let size = try reader.take(UInt64.self)
        let blockSize = try reader.take(UInt64.self)
        let count = try reader.take(UInt64.self)
        guard count <= Self.mostBlocks else { throw ArenaError(.record, "\(count) sums of a file") }
        // One copy: luod does nothing else meanwhile, and a loop over a quarter of a million sums takes long.
        let read = try reader.take(count: 4 * Int(count))
        let sums = unsafe [UInt32](unsafeUninitializedCapacity: Int(count)) { buffer, done in
            // SAFETY: the reader has returned exactly as many bytes as the buffer has.
            unsafe UnsafeMutableRawBufferPointer(buffer).copyBytes(from: read)
            done = Int(count)
        }
        guard let made = Self(size: size, blockSize: blockSize, sums: sums) else {
            throw ArenaError(.record, "\(count) sums of blocks of \(blockSize) bytes for a file of \(size) bytes")
        }
        self = made
    }

    // MARK: Comparison

    /// The first difference from other sums of the same file.
    package enum Difference: Equatable, Sendable {
        /// The size of the file now.
        case size(UInt64)
        /// The blocks that differ, by number.
        case blocks([Int])
    }

    /// The difference of the file now from these sums; nil when all are alike. `now` has blocks of the same length.
    package func difference(from now: FileSums) -> Difference? {
        guard now.size == size, now.blockSize == blockSize else { return .size(now.size) }
        let blocks = sums.indices.filter { sums[$0] != now.sums[$0] }
        return blocks.isEmpty ? nil : .blocks(blocks)
    }
}
