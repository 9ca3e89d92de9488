// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform

/// A range of the arena that a callback wrote, with its checksum.
struct StoredRange: Hashable, Sendable {
    var range: Extent
    var checksum: UInt32
}

/// The source of a handler's records: the ``Storage`` of a running boot, or an arena that is inspected from outside.
package protocol RecordSource {
    /// The most bytes that records can have. A reader of a chain of offsets that has read more goes in circles.
    var size: UInt64 { get }

    /// Reads bytes that a record points to.
    ///
    /// - Throws: EIO when the source does not have these bytes.
    func read(at offset: UInt64, count: UInt64) throws(LiveUpdateError) -> [UInt8]
}

/// The arena as callbacks see it, for records that travel. Records that a callback stores belong to its file or FLB and
/// are freed with it. If the callback fails, its records are freed at once.
public final class Storage: RecordSource, Sendable {
    private let arena: Arena
    private let changes = Guarded(Changes())
    /// The ranges that the file or FLB had before. A freeze may drop them.
    private let owned: [StoredRange]
    /// Whether allocations may use the room that is reserved for publishing.
    private let isReserved: Bool

    private struct Changes: Sendable {
        var allocated: [Extent] = []
        /// The ranges that the callback drops. There are few of them.
        var dropped: [StoredRange] = []
    }

    init(_ arena: Arena, owned: [StoredRange] = [], isReserved: Bool = false) {
        self.arena = arena
        self.isReserved = isReserved
        self.owned = owned
    }

    /// Allocates room in the arena. The room is not cleared.
    ///
    /// - Parameters:
    ///   - count: the length in bytes.
    ///   - alignment: a power of two, 64 at least.
    /// - Returns: the offset from the arena's start, in place of the kernel's physical address.
    /// - Throws: ENOSPC at the arena's limit, or when its file system is full.
    public func allocate(_ count: Int, alignment: UInt64 = 64) throws(LiveUpdateError) -> UInt64 {
        do {
            let range =
                isReserved
                ? try arena.allocateReserved(UInt64(count), alignment: alignment)
                : try arena.allocate(UInt64(count), alignment: alignment)
            changes.with { $0.allocated.append(range) }
            return range.offset
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// Writes into room that the same callback has allocated.
    public func write(_ bytes: [UInt8], at offset: UInt64) {
        let end = offset + UInt64(bytes.count)
        let ours = changes.with { $0.allocated.contains { $0.offset <= offset && end <= $0.end } }
        precondition(ours, "a callback writes only where it allocated")
        arena.write(bytes, at: offset)
    }

    /// Allocates room for bytes, and writes them.
    ///
    /// - Throws: as ``allocate(_:alignment:)``.
    public func store(_ bytes: [UInt8], alignment: UInt64 = 64) throws(LiveUpdateError) -> UInt64 {
        let offset = try allocate(bytes.count, alignment: alignment)
        write(bytes, at: offset)
        return offset
    }

    /// The size of the arena in bytes.
    public var size: UInt64 { arena.size }

    /// Reads bytes that a record points to.
    ///
    /// - Throws: EIO when the bytes are outside of the arena.
    public func read(at offset: UInt64, count: UInt64) throws(LiveUpdateError) -> [UInt8] {
        do {
            return try arena.read(at: offset, count: count)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// Drops a record that an earlier callback stored at this offset, because the freeze has stored a new one. Only a
    /// freeze calls this. The old record stays until the request has succeeded.
    public func drop(_ offset: UInt64) {
        guard let range = owned.first(where: { $0.range.offset == offset }) else { return }
        changes.with { changes in if !changes.dropped.contains(range) { changes.dropped.append(range) } }
    }

    /// The ranges that are freed when the request has succeeded.
    var droppedRanges: [StoredRange] { changes.with { $0.dropped } }

    /// The earlier ranges that were not dropped, and the allocated ranges, with their checksums.
    func sealed() -> [StoredRange] {
        let changes = changes.with { $0 }
        let kept = changes.dropped.isEmpty ? owned : owned.filter { !changes.dropped.contains($0) }
        return kept + changes.allocated.map { StoredRange(range: $0, checksum: arena.checksum(of: $0)) }
    }

    /// Frees the allocated ranges.
    func discard() { arena.free(changes.with { $0.allocated }) }
}
