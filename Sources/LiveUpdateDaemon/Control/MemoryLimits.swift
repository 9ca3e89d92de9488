// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
package import LiveUpdatePlatform

/// Limits on the memory of one user's files. luod measures this memory only from time to time: a user can exceed a
/// limit by filling files that are held already, and then cannot preserve more. A cgroup is the hard limit.
package struct MemoryLimits: Equatable, Sendable {
    /// Bytes of memory files with ordinary pages; nil for the default.
    package var bytes: UInt64?
    /// Huge pages, by page size. A missing size has its default.
    package var hugePages: [PageSize: UInt64] = [:]

    /// Defaults only.
    package init() {}

    /// Reads `2M=512,1G=2`.
    ///
    /// - Returns: nil for other text, and for a size that is named twice.
    package static func hugePages(_ text: String) -> [PageSize: UInt64]? {
        var pages: [PageSize: UInt64] = [:]
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let sides = part.split(separator: "=", omittingEmptySubsequences: false)
            guard sides.count == 2, let bytes = ByteCount(String(sides[0]))?.bytes, let size = PageSize(bytes: bytes),
                size != .base, sides[1].allSatisfy({ ("0"..."9").contains($0) }), let count = UInt64(sides[1]),
                count <= 1 << 30, pages.updateValue(count, forKey: size) == nil
            else { return nil }
        }
        return pages
    }
}

extension MemoryLimits {
    func put(in writer: inout ByteWriter) {
        writer.put(UInt8(bytes == nil ? 0 : 1))
        writer.put(bytes ?? 0)
        writer.put(UInt8(hugePages.count))
        for (size, count) in hugePages.sorted(by: { $0.key < $1.key }) {
            writer.put(size.order)
            writer.put(count)
        }
    }

    init(from reader: inout ByteReader) throws(ArenaError) {
        let hasBytes = try reader.take(UInt8.self)
        guard hasBytes <= 1 else { throw ArenaError(.record, "settings: \(hasBytes) is not a truth value") }
        let limit = try reader.take(UInt64.self)
        bytes = hasBytes == 1 ? limit : nil
        for _ in 0..<(try reader.take(UInt8.self)) {
            let size = PageSize(order: try reader.take())
            hugePages[size] = try reader.take()
        }
    }
}
