/// A name as the kernel compares it: by its bytes. `String` takes what Unicode calls equivalent for equal.
struct ExactString: Hashable, Sendable {
    private let text: String

    init(_ text: String) { self.text = text }

    static func == (left: Self, right: Self) -> Bool {
        // SAFETY: both are read within the closures. By number: what `elementsEqual` makes of it takes ten times as long.
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

    /// The string's own bytes, neither copied nor taken one by one from it, which is ten times slower.
    @unsafe
    private func withBytes<Value>(_ body: (UnsafeBufferPointer<UInt8>) -> Value) -> Value {
        var text = text
        return text.withUTF8(body)
    }
}

extension String {
    /// Whether it can be a name in a field of the kernel's: at least one byte, none of them 0.
    func isName(ofAtMost most: Int) -> Bool {
        var text = self
        // SAFETY: the bytes are read within the closure.
        return (1...most).contains(utf8.count) && text.withUTF8 { unsafe !$0.contains(0) }
    }
}
