// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The records that the handler of one file has stored. Nothing else can be read through this value, so that a damaged
/// offset does not lead to other parts of the arena.
package struct InspectedRecords: RecordSource {
    private let arena: ArenaInspection
    /// The ranges of the records: sorted, without overlaps, inside of the arena.
    private let places: [Extent]

    init(of file: InspectedState.File, in arena: ArenaInspection) {
        self.arena = arena
        places = file.stored.filter(\.isInside).map(\.place).sorted { $0.offset < $1.offset }
    }

    /// The length of all records in bytes.
    package var size: UInt64 { places.reduce(0) { $0 + $1.length } }

    /// - Throws: EIO for bytes that are not all in one range that the handler has stored.
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

    /// The last range that does not start behind an offset.
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
