// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import LiveUpdatePlatform

/// An ordinary memory file, `memfd-extents-v1`:
/// `u64 size, u64 position, u32 seals, u32 zero, u64 number of extents, u64 offset of the extents`. An extent is a
/// range in which the file has data, `u64 offset, u64 length`. All sizes and offsets are in bytes.
///
/// The record has extents, and not an entry for each page of 4 KiB as in the kernel, because a guest's memory has few
/// extents.
package struct MemfdRecord: KeptFileRecord, Equatable, Sendable {
    static let compatible = "memfd-extents-v1"
    static let length: UInt64 = 40

    package var size: UInt64
    package var position: UInt64
    /// The seals of the file when it was preserved.
    package var seals: Seals
    private let array: ExtentArray

    /// Describes a file and stores its extents.
    ///
    /// - Throws: ENOSPC.
    init(
        size: UInt64, position: UInt64, seals: Seals, extents: [Extent], in storage: Storage
    ) throws(LiveUpdateError) {
        self.size = size
        self.position = position
        self.seals = seals
        array = try ExtentArray(storing: extents, in: storage)
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Int(Self.length))
        writer.put(size)
        writer.put(position)
        writer.put(seals.rawValue)
        writer.put(UInt32(0))
        array.encode(into: &writer)
        return writer.bytes
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO for bytes that cannot be such a record.
    package init(at data: UInt64, in storage: some RecordSource) throws(LiveUpdateError) {
        let bytes = try storage.read(at: data, count: Self.length)
        do throws(ArenaError) {
            var reader = ByteReader(bytes, Self.compatible)
            size = try reader.take()
            position = try reader.take()
            seals = Seals(rawValue: try reader.take())
            _ = try reader.take(UInt32.self)
            array = try ExtentArray(&reader)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// The ranges in which the file had data when it was preserved, in the file's order.
    ///
    /// - Throws: EIO when the array is damaged, or names ranges outside of the file.
    package func extents(in storage: some RecordSource) throws(LiveUpdateError) -> [Extent] {
        try array.extents(of: size, in: storage)
    }
}
