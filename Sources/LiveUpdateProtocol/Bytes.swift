// SPDX-License-Identifier: Apache-2.0
extension [UInt8] {
    /// The integer at an offset, in native byte order like the kernel's structs; nil when the bytes end before.
    package func number<Value: FixedWidthInteger>(_: Value.Type, at offset: Int) -> Value? {
        let length = MemoryLayout<Value>.size
        guard offset >= 0, offset <= count - length else { return nil }
        // SAFETY: inside the array, by the line above.
        return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: Value.self) }
    }
}
