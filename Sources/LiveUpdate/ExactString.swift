/// A name as the kernel compares it: by its bytes. `String` takes what Unicode calls equivalent for equal.
struct ExactString: Hashable, Sendable {
    private let bytes: [UInt8]

    init(_ text: String) { bytes = [UInt8](text.utf8) }
}
