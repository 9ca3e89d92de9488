// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform

/// The ranges of a file that have data: `u64 number of extents, u64 offset of the extents`. An extent is
/// `u64 offset, u64 length`, in bytes.
struct ExtentArray: Equatable, Sendable {
    private static let extentLength: UInt64 = 16

    private let count: UInt64
    private let array: UInt64

    /// Stores extents.
    ///
    /// - Throws: ENOSPC.
    init(storing extents: [Extent], in storage: Storage) throws(LiveUpdateError) {
        count = UInt64(extents.count)
        var writer = ByteWriter(capacity: extents.count * Int(Self.extentLength))
        for extent in extents {
            writer.put(extent.offset)
            writer.put(extent.length)
        }
        array = extents.isEmpty ? 0 : try storage.store(writer.bytes)
    }

    /// Reads the two numbers from a record.
    ///
    /// - Throws: `record`, for numbers that cannot name extents.
    init(_ reader: inout ByteReader) throws(ArenaError) {
        count = try reader.take()
        array = try reader.take()
        guard count <= UInt64(Int32.max), (count == 0) == (array == 0) else {
            throw ArenaError(.record, "\(count) extents at offset \(array)")
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.put(count)
        writer.put(array)
    }

    /// Reads the extents.
    ///
    /// - Parameters:
    ///   - size: the size of the file in bytes.
    ///   - storage: the arena.
    /// - Returns: the extents, in the file's order.
    /// - Throws: EIO when the array is damaged, or names ranges outside of the file.
    func extents(of size: UInt64, in storage: some RecordSource) throws(LiveUpdateError) -> [Extent] {
        if count == 0 { return [] }
        let bytes = try storage.read(at: array, count: count * Self.extentLength)
        do throws(ArenaError) {
            var reader = ByteReader(bytes, "extents")
            var extents: [Extent] = []
            for _ in 0..<count {
                let extent = Extent(offset: try reader.take(), length: try reader.take())
                guard extent.offset >= extents.last?.end ?? 0, extent.offset < size,
                    extent.length <= size - extent.offset
                else { throw ArenaError(.record, "an extent outside of the file, or out of order") }
                extents.append(extent)
            }
            return extents
        } catch {
            throw LiveUpdateError(error)
        }
    }
}
