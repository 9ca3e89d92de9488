// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate

/// CRC32C (Castagnoli; RFC 3720), at about the speed at which memory can be read.
package enum CRC32C {
    /// The checksum of some bytes. With the checksum of the bytes before them, it is that of both.
    @unsafe
    package static func of(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0) -> UInt32 {
        unsafe cshims_crc32c(previous, bytes.baseAddress, bytes.count)
    }

    /// The checksum of an array's bytes.
    package static func of(_ bytes: [UInt8], continuing previous: UInt32 = 0) -> UInt32 {
        of(bytes[...], continuing: previous)
    }

    /// The checksum of a part of an array.
    package static func of(_ bytes: ArraySlice<UInt8>, continuing previous: UInt32 = 0) -> UInt32 {
        // SAFETY: the buffer is only read, within the closure.
        unsafe bytes.withUnsafeBytes { unsafe of($0, continuing: previous) }
    }
}
