// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import SystemPackage

/// An array that is too long for one record and has pages of its own. Its descriptor of 16 bytes is the kernel's
/// (`kho_preserve_vmalloc`): `u64 first chunk, u32 pages, u16 flags, u16 order`.
///
/// A chunk is a page: `u64` offset of the next chunk or 0, then up to 511 `u64` offsets of pages, which hold the
/// array's bytes one after the other.
struct PageArray: Equatable {
    static let length = 16
    static let pageLength = 4096
    private static let pagesPerChunk = pageLength / 8 - 1

    var firstChunk: UInt64
    var pages: UInt32

    /// Stores an array's bytes.
    ///
    /// - Throws: ENOSPC.
    init(storing bytes: [UInt8], in storage: Storage) throws(LiveUpdateError) {
        let count = (bytes.count + Self.pageLength - 1) / Self.pageLength
        let chunks = (count + Self.pagesPerChunk - 1) / Self.pagesPerChunk
        pages = UInt32(count)
        firstChunk = 0
        guard count > 0 else { return }

        // The array takes one range: first the chunks, then the pages.
        let start = try storage.allocate((chunks + count) * Self.pageLength, alignment: UInt64(Self.pageLength))
        let firstPage = start + UInt64(chunks * Self.pageLength)
        var writer = ByteWriter(capacity: (chunks + count) * Self.pageLength)
        for chunk in 0..<chunks {
            let isLast = chunk == chunks - 1
            writer.put(isLast ? 0 : start + UInt64((chunk + 1) * Self.pageLength))
            for page in chunk * Self.pagesPerChunk..<(chunk + 1) * Self.pagesPerChunk {
                writer.put(page < count ? firstPage + UInt64(page * Self.pageLength) : 0)
            }
        }
        writer.put(bytes)
        writer.pad(count * Self.pageLength - bytes.count)
        storage.write(writer.bytes, at: start)
        firstChunk = start
    }

    /// Reads the descriptor from a record.
    ///
    /// - Throws: `record`, for flags or an order that we do not write.
    init(_ reader: inout ByteReader) throws(ArenaError) {
        firstChunk = try reader.take()
        pages = try reader.take()
        let flags = try reader.take(UInt16.self)
        let order = try reader.take(UInt16.self)
        guard flags == 0, order == 0, (firstChunk == 0) == (pages == 0) else {
            throw ArenaError(.record, "an array with the flags \(flags) and the order \(order)")
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.put(firstChunk)
        writer.put(pages)
        writer.put(UInt16(0))
        writer.put(UInt16(0))
    }

    /// Reads the array's bytes.
    ///
    /// - Throws: EIO when a chunk or a page is outside of the arena, or when there are fewer pages than the descriptor
    ///   says.
    func bytes(count: Int, in storage: some RecordSource) throws(LiveUpdateError) -> [UInt8] {
        // Without this check, a damaged array could name one page many times.
        guard UInt64(pages) <= storage.size / UInt64(Self.pageLength) else {
            throw LiveUpdateError(.ioError, "an array of \(pages) pages in \(storage.size) bytes")
        }
        var bytes: [UInt8] = []
        var chunk = firstChunk
        var left = Int(pages)
        while left > 0 {
            guard chunk != 0 else { throw LiveUpdateError(.ioError, "an array ends \(left) pages too early") }
            var reader = ByteReader(
                try storage.read(at: chunk, count: UInt64(Self.pageLength)), "chunk of an array")
            chunk = try number(&reader)
            for _ in 0..<min(left, Self.pagesPerChunk) {
                let page = try number(&reader)
                guard page != 0 else { throw LiveUpdateError(.ioError, "an array ends \(left) pages too early") }
                bytes += try storage.read(at: page, count: UInt64(Self.pageLength))
            }
            left -= min(left, Self.pagesPerChunk)
        }
        guard count <= bytes.count else {
            throw LiveUpdateError(.ioError, "\(count) bytes of an array in \(pages) pages")
        }
        return [UInt8](bytes.prefix(count))
    }

    private func number(_ reader: inout ByteReader) throws(LiveUpdateError) -> UInt64 {
        do throws(ArenaError) { return try reader.take() } catch { throw LiveUpdateError(error) }
    }
}
