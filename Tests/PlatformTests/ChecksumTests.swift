// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import TestSupport
import Testing

/// CRC32C is computed in four streams, which tables join. Errors are likely where lanes meet, at ends inside a word,
/// and at odd addresses.
@Suite struct ChecksumTests {
    @Test(
        "The results in RFC 3720 and the catalogues of CRCs",
        arguments: [
            ([UInt8]("123456789".utf8), 0xE306_9283),
            ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
            ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
            ([UInt8](0..<32), 0x46DD_794E),
            ([], 0),
        ] as [([UInt8], UInt32)])
    func knownAnswers(bytes: [UInt8], answer: UInt32) { #expect(CRC32C.of(bytes) == answer) }

    @Test("Every length over the seams of short lanes, at every address modulo 8")
    func shortLengths() {
        let bytes = randomBytes(4 * 512 * 2 + 80)
        for offset in 0..<8 {
            var crc = BitwiseCRC()
            for length in 0..<bytes.count - offset {
                if length % Scale.stride == 0 { check(bytes, offset, length, crc.value) }
                crc.append(bytes[offset + length])
            }
        }
    }

    @Test("Lengths around the seams of long lanes, over 1 MiB", arguments: [0, 1, 7])
    func longLengths(offset: Int) {
        let seam = 4 * 256 * 1024
        let bytes = randomBytes(seam * 2 + 64)
        let lengths = [seam - 1, seam, seam + 1, seam + 4 * 512 + 3, 2 * seam - 8, 2 * seam, 2 * seam + 9]
        var crc = BitwiseCRC()
        var at = 0
        for length in lengths {
            while at < length {
                crc.append(bytes[offset + at])
                at += 1
            }
            check(bytes, offset, length, crc.value)
        }
    }

    @Test("A checksum that is continued at any point equals the checksum of the whole")
    func continuing() {
        let bytes = randomBytes(6000)
        let whole = CRC32C.of(bytes)
        for cut in [0, 1, 7, 8, 511, 2048, 2049, 5999, 6000] {
            let first = CRC32C.of([UInt8](bytes[..<cut]))
            #expect(CRC32C.of([UInt8](bytes[cut...]), continuing: first) == whole, "cut at \(cut)")
        }
    }

    private func check(_ bytes: [UInt8], _ offset: Int, _ length: Int, _ expected: UInt32) {
        // SAFETY: the range is inside the array, and the buffer does not leave the closure.
        let found = unsafe bytes.withUnsafeBytes { buffer in
            unsafe CRC32C.of(UnsafeRawBufferPointer(rebasing: buffer[offset..<offset + length]))
        }
        if found != expected { Issue.record("\(length) bytes at \(offset): \(found), not \(expected)") }
    }

    private func randomBytes(_ count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: 7)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }
}

/// The definition, bit by bit.
private struct BitwiseCRC {
    private var state = UInt32.max

    mutating func append(_ byte: UInt8) {
        state ^= UInt32(byte)
        for _ in 0..<8 { state = state & 1 == 1 ? (state >> 1) ^ 0x82F6_3B78 : state >> 1 }
    }

    var value: UInt32 { ~state }
}
