// SPDX-License-Identifier: Apache-2.0

/// A name that is compared by its bytes, as the kernel does. `String` compares by Unicode equivalence.
struct ExactString: Hashable, Sendable {
    private let text: String

    init(_ text: String) { self.text = text }

    static func == (left: Self, right: Self) -> Bool {
        // SAFETY: both are read within the closures. The loop compares by index, because `elementsEqual` takes ten
        // times as long here.
        unsafe left.withBytes { left in
            unsafe right.withBytes { right in
                left.count == right.count && left.indices.allSatisfy { unsafe left[$0] == right[$0] }
            }
        }
    }

    func hash(into hasher: inout Hasher) {
        // SAFETY: the hasher reads the bytes within the closure.
        unsafe withBytes { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }

    /// Lends the string's own bytes. A copy, or a read byte by byte, would be ten times slower.
    @unsafe
    private func withBytes<Value>(_ body: (UnsafeBufferPointer<UInt8>) -> Value) -> Value {
        var text = text
        return text.withUTF8(body)
    }
}

extension String {
    /// Whether the string can be a name in a field of the kernel: at least one byte, and no byte is 0.
    func isName(ofAtMost most: Int) -> Bool {
        var text = self
        // SAFETY: the bytes are read within the closure.
        return (1...most).contains(utf8.count) && text.withUTF8 { unsafe !$0.contains(0) }
    }
}
