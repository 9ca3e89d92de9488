// SPDX-License-Identifier: Apache-2.0
import FuzzSupport

@testable import LiveUpdatePlatform

/// Encodes the bytes of an arena without its zeros, so that inputs are small. The code is `u8 pages`, and then runs:
/// `u16 place, u16 count` and the words of the run. Place and count are in words of 8 bytes.
enum Image {
    private static let most = 64
    private static let page = 4096

    static func expanded(_ packed: some Collection<UInt8>) -> [UInt8] {
        var rest = [UInt8](packed)[...]
        let pages = Int(rest.popFirst() ?? 1)
        var image = [UInt8](repeating: 0, count: min(max(pages, 1), most) * page)
        while rest.count >= 4 {
            let header = [UInt8](rest.prefix(4))
            rest.removeFirst(4)
            let start = Int(header[UInt16.self, at: 0]) * 8
            let run = rest.prefix(Int(header[UInt16.self, at: 2]) * 8)
            rest.removeFirst(run.count)
            guard start < image.count else { continue }
            let fitting = run.prefix(image.count - start)
            image.replaceSubrange(start..<start + fitting.count, with: fitting)
        }
        return image
    }

    static func packed(_ image: [UInt8]) -> [UInt8] {
        precondition(image.count <= most * page)
        var packed = [UInt8(image.count / page)]
        var at = 0
        let words = image.count / 8
        func isZero(_ word: Int) -> Bool { image[word * 8..<word * 8 + 8].allSatisfy { $0 == 0 } }
        while at < words {
            if isZero(at) {
                at += 1
                continue
            }
            var end = at + 1
            while end < words, !isZero(end) || (end + 1 < words && !isZero(end + 1)) { end += 1 }
            for number in [at, end - at] { packed += [UInt8(number & 0xFF), UInt8(number >> 8)] }
            packed += image[at * 8..<end * 8]
            at = end
        }
        return packed
    }

    // MARK: Checksums

    /// Repairs the checksums, so that the readers read the content that they protect.
    static func repair(_ image: inout [UInt8]) {
        let generation = image[UInt64.self, at: 24]
        for table in [64, 192] {
            let (incoming, outgoing, journal) = (table, table + 32, table + 64)
            repairJournal(&image, journal)
            for slot in [incoming, outgoing] {
                repairSlot(&image, slot, Int(exactly: image[UInt64.self, at: slot + 8]))
            }
            repairSlot(&image, journal, 24)
            if generation % 2 == (table == 64 ? 0 : 1) { image[UInt64.self, at: table + 96] = generation }
            image[UInt32.self, at: table + 104] = CRC32C.of([UInt8](image[table..<table + 104]))
        }
    }

    private static func repairSlot(_ image: inout [UInt8], _ slot: Int, _ count: Int?) {
        guard let start = Int(exactly: image[UInt64.self, at: slot]), let count, start > 0, start <= image.count,
            count <= image.count - start
        else { return }
        let own = CRC32C.of([UInt8](image[slot..<slot + 24]))
        image[UInt32.self, at: slot + 24] = CRC32C.of([UInt8](image[start..<start + count]), continuing: own)
    }

    private static func repairJournal(_ image: inout [UInt8], _ slot: Int) {
        guard let start = Int(exactly: image[UInt64.self, at: slot]), start > 0, start <= image.count - 64,
            let tail = Int(exactly: image[UInt64.self, at: start + 32]), tail >= 64, tail <= image.count - start
        else { return }
        var records = [UInt8](image[start + 64..<start + tail])
        repairRecords(&records, firstSequence: image[UInt64.self, at: start + 16])
        image.replaceSubrange(start + 64..<start + 64 + records.count, with: records)
        image[UInt64.self, at: start + 32] = UInt64(64 + records.count)
    }
}
