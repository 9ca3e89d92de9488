/// A name as the kernel compares it: by its bytes. `String` takes what Unicode calls equivalent for equal.
struct ExactString: Hashable, Sendable {
    private let bytes: [UInt8]

    init(_ text: String) { bytes = [UInt8](text.utf8) }
}

extension String {
    /// Whether it can be a name in a field of the kernel's: at least one byte, none of them 0.
    func isName(ofAtMost most: Int) -> Bool { (1...most).contains(utf8.count) && !utf8.contains(0) }
}
