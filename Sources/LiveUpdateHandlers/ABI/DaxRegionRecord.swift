// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import LiveUpdatePlatform
package import SystemPackage

/// A region of persistent memory that preserved files are on, and the way in which they use it. It is an entry of the
/// record `dax-region-v1`:
///
/// | offset | content |
/// |---|---|
/// | 0 | u64 start and u64 size of the region |
/// | 16 | u64 start and u64 size of the `memmap=` that makes it; zeros when none does |
/// | 32 | 16 bytes: the UUID of the namespace; zeros when it has none |
/// | 48 | u32 source: 1 e820, 2 NFIT, 3 virtio-pmem, 4 CXL, 5 soft-reserved, 6 another one |
/// | 52 | u32 use: 0 a devdax device, or the type of a file system: 1 ext4, 2 xfs |
/// | 56 | u32 length of the mount point, 0 when it is not known; u32 zero |
/// | 64 | the mount point: an absolute path without a NUL |
package struct DaxRegionRecord: Hashable, Sendable {
    /// The use of a region.
    package enum Use: Hashable, Sendable {
        /// A devdax device.
        case device
        /// A file system, with its mount point; nil when that is not known.
        case fileSystem(DaxFileSystem, mountPoint: FilePath?)
    }

    /// The place of the region.
    package let memory: DaxMemory
    /// The origin of the region.
    package let source: DaxRegion.Source
    /// The argument that makes the region. The command line of the next kernel must contain it, too.
    package let memmap: Memmap?
    /// The UUID of the namespace that the files are on.
    package let namespace: NamespaceID?
    /// The use of the region.
    package let use: Use

    static let compatible = "dax-region-v1"
    private static let headLength = 64

    /// Describes a region.
    package init(
        memory: DaxMemory, source: DaxRegion.Source = .other(""), memmap: Memmap? = nil, namespace: NamespaceID? = nil,
        use: Use
    ) {
        self.memory = memory
        self.source = source
        self.memmap = memmap
        self.namespace = namespace
        self.use = use
    }

    // MARK: Bytes

    /// The record of some regions: `u32 number of regions, u32 length of the entries`, and the entries.
    static func bytes(_ regions: [DaxRegionRecord]) -> [UInt8] {
        var entries = ByteWriter(capacity: regions.count * (headLength + 32))
        for region in regions { region.encode(into: &entries) }
        var writer = ByteWriter(capacity: 8 + entries.bytes.count)
        writer.put(UInt32(regions.count))
        writer.put(UInt32(entries.bytes.count))
        writer.put(entries.bytes)
        return writer.bytes
    }

    private func encode(into writer: inout ByteWriter) {
        var (type, point): (UInt32, [UInt8]) = (0, [])
        if case .fileSystem(let fileSystem, let mountPoint) = use {
            (type, point) = (fileSystem.number, mountPoint?.bytes ?? [])
        }
        writer.put(memory.start)
        writer.put(memory.size)
        writer.put(memmap?.range.lowerBound ?? 0)
        writer.put(memmap?.range.size ?? 0)
        writer.put(namespace?.bytes ?? NamespaceID.none)
        writer.put(source.number)
        writer.put(type)
        writer.put(UInt32(point.count))
        writer.put(UInt32(0))
        writer.put(point)
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO for bytes that cannot be such a record.
    package static func regions(
        at data: UInt64, in storage: some RecordSource
    ) throws(LiveUpdateError) -> [DaxRegionRecord] {
        let head = try storage.read(at: data, count: 8)
        do throws(ArenaError) {
            var reader = ByteReader(head, compatible)
            let (count, length) = (try reader.take(UInt32.self), try reader.take(UInt32.self))
            let end = data.addingReportingOverflow(8)
            guard !end.overflow else { throw ArenaError(.record, "\(compatible): no place for its entries") }
            return try regions(count, try entries(at: end.partialValue, UInt64(length), in: storage))
        } catch {
            throw LiveUpdateError(error)
        }
    }

    private static func entries(
        at offset: UInt64, _ length: UInt64, in storage: some RecordSource
    ) throws(ArenaError) -> [UInt8] {
        if length == 0 { return [] }
        guard let bytes = try? storage.read(at: offset, count: length) else {
            throw ArenaError(.record, "\(compatible): \(length) bytes at \(offset)")
        }
        return bytes
    }

    private static func regions(_ count: UInt32, _ bytes: [UInt8]) throws(ArenaError) -> [DaxRegionRecord] {
        var reader = ByteReader(bytes, compatible)
        var regions: [DaxRegionRecord] = []
        while !reader.isAtEnd { regions.append(try DaxRegionRecord(&reader)) }
        guard regions.count == count else {
            throw ArenaError(.record, "\(compatible): \(regions.count) entries, and not \(count)")
        }
        return regions
    }

    private init(_ reader: inout ByteReader) throws(ArenaError) {
        func bad(_ what: String) -> ArenaError { ArenaError(.record, "\(Self.compatible): \(what)") }
        memory = DaxMemory(start: try reader.take(), size: try reader.take())
        let made = DaxMemory(start: try reader.take(), size: try reader.take())
        guard let range = memory.range, let madeRange = made.range else { throw bad("a region without an end") }
        guard range.size > 0 else { throw bad("a region of 0 bytes") }
        memmap = madeRange.size > 0 ? Memmap(.persistent, madeRange) : nil
        namespace = NamespaceID(bytes: Array(try reader.take(count: NamespaceID.none.count)))
        guard let source = DaxRegion.Source(number: try reader.take()) else { throw bad("the source is unknown") }
        self.source = source
        let (type, length) = (try reader.take(UInt32.self), try reader.take(UInt32.self))
        _ = try reader.take(UInt32.self)
        guard length < 4096 else { throw bad("a mount point of \(length) bytes") }
        let point = Array(try reader.take(count: Int(length)))
        guard type != 0 else {
            use = .device
            return
        }
        guard let fileSystem = DaxFileSystem(number: type) else { throw bad("the type of the file system is unknown") }
        let path = point.isEmpty ? nil : try? RecordedPath.path(Self.compatible, point)
        guard point.isEmpty == (path == nil) else { throw bad("the mount point is no absolute path") }
        use = .fileSystem(fileSystem, mountPoint: path)
    }
}

/// The UUID of a namespace of persistent memory. Namespaces that fill a region of `memmap=` have none.
package struct NamespaceID: Hashable, Sendable {
    /// The 16 bytes, which are not all zero.
    let bytes: [UInt8]

    /// The bytes that stand for no UUID.
    static let none = [UInt8](repeating: 0, count: 16)

    init?(bytes: [UInt8]) {
        guard bytes.count == Self.none.count, bytes != Self.none else { return nil }
        self.bytes = bytes
    }

    /// Parses the text of sysfs: `49614ed4-9cdd-4f35-a350-08c31ee5fdca`. Nil for other texts, and for zeros.
    package init?(_ text: String) {
        let digits = Array(text.filter { $0 != "-" })
        guard digits.count == 32 else { return nil }
        let bytes = stride(from: 0, to: 32, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
        self.init(bytes: bytes)
    }
}

extension DaxRegion.Source {
    /// The sources with a number of their own, in the order of their numbers, which begin with 1.
    private static let numbered: [Self] = [.e820, .nfit, .virtioPmem, .cxl, .softReserved]

    /// The number in a record.
    fileprivate var number: UInt32 {
        UInt32((Self.numbered.firstIndex(of: self) ?? Self.numbered.count) + 1)
    }

    fileprivate init?(number: UInt32) {
        guard (1...UInt32(Self.numbered.count) + 1).contains(number) else { return nil }
        let index = Int(number) - 1
        self = index < Self.numbered.count ? Self.numbered[index] : .other("")
    }
}
