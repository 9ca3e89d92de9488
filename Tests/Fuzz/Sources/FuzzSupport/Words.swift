// SPDX-License-Identifier: Apache-2.0

/// Reads and writes words of an input, which need not be aligned.
extension [UInt8] {
    package subscript<Value: FixedWidthInteger>(_: Value.Type, at offset: Int) -> Value {
        get {
            var value: Value = 0
            for index in 0..<MemoryLayout<Value>.size {
                value |= Value(truncatingIfNeeded: self[offset + index]) << (8 * index)
            }
            return value
        }
        set {
            for index in 0..<MemoryLayout<Value>.size {
                self[offset + index] = UInt8(truncatingIfNeeded: newValue >> (8 * index))
            }
        }
    }
}
