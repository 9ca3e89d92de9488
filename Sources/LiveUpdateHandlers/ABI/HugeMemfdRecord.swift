// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import LiveUpdatePlatform

/// A hugetlb memory file, `huge-memfd-v1`, in the kernel's layout of 41 bytes:
/// `u64 size, u64 position, u64 folios, 16-byte array descriptor, u8 order`, and an array of folios of 16 bytes:
/// `u64` (52 bits page frame number, 12 bits flags, none of which is in use), `u64` index in base pages.
package struct HugeMemfdRecord: KeptFileRecord, Equatable, Sendable {
    static let compatible = "huge-memfd-v1"
    static let length: UInt64 = 41
    private static let folioLength = 16
    private static let frameMask: UInt64 = (1 << 52) - 1

    package var size: UInt64
    package var position: UInt64
    /// The number of huge pages that exist.
    package let folios: UInt64
    /// The page size of their pool.
    package let pageSize: PageSize
    let array: PageArray

    /// Describes a file and stores its folios.
    ///
    /// - Throws: ENOSPC.
    init(
        size: UInt64, position: UInt64, pages: [HugePage], pageSize: PageSize, in storage: Storage
    ) throws(LiveUpdateError) {
        self.size = size
        self.position = position
        self.pageSize = pageSize
        folios = UInt64(pages.count)
        var writer = ByteWriter(capacity: pages.count * Self.folioLength)
        for page in pages {
            writer.put(page.frame & Self.frameMask)
            writer.put(page.index)
        }
        array = try PageArray(storing: writer.bytes, in: storage)
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Int(Self.length))
        writer.put(size)
        writer.put(position)
        writer.put(folios)
        array.encode(into: &writer)
        writer.put(pageSize.order)
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
            folios = try reader.take()
            array = try PageArray(&reader)
            let order = try reader.take(UInt8.self)
            pageSize = PageSize(order: order)
            // No file is larger than off_t allows.
            guard position <= UInt64(Int64.max) else {
                throw ArenaError(.record, "\(Self.compatible): the position \(position)")
            }
            guard (1...30).contains(order), size <= UInt64(Int64.max), folios <= size / pageSize.bytes + 1,
                folios <= UInt64(array.pages) * UInt64(PageArray.pageLength / Self.folioLength)
            else {
                throw ArenaError(.record, "\(Self.compatible): \(folios) folios of order \(order) in \(size) bytes")
            }
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// The pages that existed when the file was preserved, in the file's order.
    ///
    /// - Throws: EIO when the array is damaged, or names pages outside of the file.
    package func pages(in storage: some RecordSource) throws(LiveUpdateError) -> [HugePage] {
        let bytes = try array.bytes(count: Int(folios) * Self.folioLength, in: storage)
        do throws(ArenaError) {
            var reader = ByteReader(bytes, "folios")
            var pages: [HugePage] = []
            for _ in 0..<folios {
                let frame = try reader.take(UInt64.self) & Self.frameMask
                let index = try reader.take(UInt64.self)
                guard index % pageSize.basePages == 0, index < size / PageSize.base.bytes,
                    pages.last.map({ $0.index < index }) ?? true
                else { throw ArenaError(.record, "a folio outside of the file, or out of order") }
                pages.append(HugePage(index: index, frame: frame))
            }
            return pages
        } catch {
            throw LiveUpdateError(error)
        }
    }
}
