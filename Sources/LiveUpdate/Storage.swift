import Handover
import Platform

/// A range of the arena that a callback wrote, with its checksum.
struct StoredRange: Hashable, Sendable {
    var range: Extent
    var checksum: UInt32
}

/// Where a handler's records are read from: a running boot's ``Storage``, or what is looked at from outside.
public protocol RecordSource {
    /// All that can be there, in bytes: who follows offsets can tell by it that it goes in circles.
    var size: UInt64 { get }

    /// Reads what a record points to.
    ///
    /// - Throws: EIO when that is not there.
    func read(at offset: UInt64, count: UInt64) throws(LiveUpdateError) -> [UInt8]
}

/// The arena, as callbacks see it: records of theirs that travel. What one callback stores belongs to its file or FLB
/// and is given back with it; a callback that fails leaves nothing.
public final class Storage: RecordSource, Sendable {
    private let arena: Arena
    private let changes = Guarded(Changes())
    /// What the file or FLB had before, and in a freeze may give up.
    private let owned: [StoredRange]
    /// Whether it may take of the room that is left for publishing.
    private let isReserved: Bool

    private struct Changes: Sendable {
        var allocated: [Extent] = []
        /// Few: what one callback gives up.
        var dropped: [StoredRange] = []
    }

    init(_ arena: Arena, owned: [StoredRange] = [], isReserved: Bool = false) {
        self.arena = arena
        self.isReserved = isReserved
        self.owned = owned
    }

    /// Room in the arena; its bytes are whatever they were.
    ///
    /// - Parameters:
    ///   - count: in bytes.
    ///   - alignment: a power of two, 64 at least.
    /// - Returns: the offset from the arena's start: a physical address, in the kernel's terms.
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

    /// Writes into room that was allocated here.
    public func write(_ bytes: [UInt8], at offset: UInt64) {
        let end = offset + UInt64(bytes.count)
        let ours = changes.with { $0.allocated.contains { $0.offset <= offset && end <= $0.end } }
        precondition(ours, "a callback writes only where it allocated")
        arena.write(bytes, at: offset)
    }

    /// Allocates and writes.
    ///
    /// - Throws: as ``allocate(_:alignment:)``.
    public func store(_ bytes: [UInt8], alignment: UInt64 = 64) throws(LiveUpdateError) -> UInt64 {
        let offset = try allocate(bytes.count, alignment: alignment)
        write(bytes, at: offset)
        return offset
    }

    /// Of the arena, in bytes.
    public var size: UInt64 { arena.size }

    /// Reads what a record points to.
    ///
    /// - Throws: EIO when that is outside of the arena.
    public func read(at offset: UInt64, count: UInt64) throws(LiveUpdateError) -> [UInt8] {
        do {
            return try arena.read(at: offset, count: count)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// In freeze: gives up what an earlier callback stored at this offset, because it was stored anew. It is kept until
    /// the request has succeeded.
    public func drop(_ offset: UInt64) {
        guard let range = owned.first(where: { $0.range.offset == offset }) else { return }
        changes.with { changes in if !changes.dropped.contains(range) { changes.dropped.append(range) } }
    }

    /// What is no longer needed once the request has succeeded.
    var droppedRanges: [StoredRange] { changes.with { $0.dropped } }

    /// What was there before and stays, and what was allocated, sealed with checksums.
    func sealed() -> [StoredRange] {
        let changes = changes.with { $0 }
        let kept = changes.dropped.isEmpty ? owned : owned.filter { !changes.dropped.contains($0) }
        return kept + changes.allocated.map { StoredRange(range: $0, checksum: arena.checksum(of: $0)) }
    }

    /// Gives back what was allocated.
    func discard() { arena.free(changes.with { $0.allocated }) }
}
