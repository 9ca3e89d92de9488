// SPDX-License-Identifier: Apache-2.0
@testable import LiveUpdatePlatform

/// Gives the records of a journal correct lengths, checksums and sequence numbers.
package func repairRecords(_ bytes: inout [UInt8], firstSequence: UInt64 = 0) {
    var at = 0
    var sequence = firstSequence
    while bytes.count - at >= 24 {
        let room = (bytes.count - at) / 8 * 8
        let payload = min(Int(bytes[UInt32.self, at: at + 20]), room - 24)
        let length = 24 + (payload + 7) / 8 * 8
        bytes[UInt32.self, at: at] = UInt32(length)
        bytes[UInt64.self, at: at + 8] = sequence
        bytes[UInt32.self, at: at + 20] = UInt32(payload)
        bytes[UInt32.self, at: at + 4] = CRC32C.of([UInt8](bytes[at + 8..<at + length]))
        at += length
        sequence &+= 1
    }
    bytes.removeLast(bytes.count - at)
}
