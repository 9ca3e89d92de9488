import Handover
public import LiveUpdate
public import Platform

/// An ordinary memory file, `memfd-extents-v1`:
/// `u64 size, u64 position, u64 extents, 16-byte array descriptor, u32 seals, u32 zero`, and an array of
/// `u64 offset, u64 length`: where it has data. All of it in bytes.
///
/// Extents, and not a record for each page of 4 KiB as in the kernel: a guest's memory has few of the former.
public struct MemfdRecord: Equatable, Sendable {
    static let compatible = "memfd-extents-v1"
    static let length: UInt64 = 48
    private static let extentLength = 16

    public var size: UInt64
    public var position: UInt64
    public var seals: Seals
    let count: UInt64
    let array: PageArray

    /// Describes a file and stores its extents.
    ///
    /// - Throws: ENOSPC.
    init(
        size: UInt64, position: UInt64, seals: Seals, extents: [Extent], in storage: Storage
    ) throws(LiveUpdateError) {
        self.size = size
        self.position = position
        self.seals = seals
        count = UInt64(extents.count)
        var writer = ByteWriter(capacity: extents.count * Self.extentLength)
        for extent in extents {
            writer.put(extent.offset)
            writer.put(extent.length)
        }
        array = try PageArray(storing: writer.bytes, in: storage)
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Int(Self.length))
        writer.put(size)
        writer.put(position)
        writer.put(count)
        array.encode(into: &writer)
        writer.put(seals.rawValue)
        writer.put(UInt32(0))
        return writer.bytes
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO when it cannot be one.
    public init(at data: UInt64, in storage: Storage) throws(LiveUpdateError) {
        let bytes = try storage.read(at: data, count: Self.length)
        do throws(ArenaError) {
            var reader = ByteReader(bytes, Self.compatible)
            size = try reader.take()
            position = try reader.take()
            count = try reader.take()
            array = try PageArray(&reader)
            seals = Seals(rawValue: try reader.take())
            guard count <= UInt64(array.pages) * UInt64(PageArray.pageLength / Self.extentLength) else {
                throw ArenaError(.record, "\(Self.compatible): \(count) extents in \(array.pages) pages")
            }
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// Where the file had data when it was preserved, in its order.
    ///
    /// - Throws: EIO when the array is damaged, or leaves the file.
    public func extents(in storage: Storage) throws(LiveUpdateError) -> [Extent] {
        let bytes = try array.bytes(count: Int(count) * Self.extentLength, in: storage)
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
