import Handover
import Platform
import SystemPackage

/// What the handler of one file has stored. Nothing else can be read through it, so that damage does not lead around in
/// all of the arena.
package struct InspectedRecords: RecordSource {
    private let arena: ArenaInspection
    /// Sorted, apart from each other, inside of the arena.
    private let places: [Extent]

    init(of file: InspectedState.File, in arena: ArenaInspection) {
        self.arena = arena
        places = file.stored.filter(\.isInside).map(\.place).sorted { $0.offset < $1.offset }
    }

    /// Of all that is stored, in bytes.
    package var size: UInt64 { places.reduce(0) { $0 + $1.length } }

    /// - Throws: EIO for what is not all in one range that the handler has stored.
    package func read(at offset: UInt64, count: UInt64) throws(LiveUpdateError) -> [UInt8] {
        guard let place = place(before: offset), offset <= place.end, count <= place.end - offset else {
            throw LiveUpdateError(
                .ioError, "\(count) bytes at offset \(offset) are not among what the handler has stored")
        }
        do {
            return try arena.read(at: offset, count: count)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// The last one that does not start behind an offset.
    private func place(before offset: UInt64) -> Extent? {
        var low = 0
        var high = places.count
        while low < high {
            let middle = (low + high) / 2
            if places[middle].offset <= offset { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? places[low - 1] : nil
    }
}
