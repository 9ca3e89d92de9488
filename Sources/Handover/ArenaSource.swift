/// Where an arena's bytes are: the mapped file of who runs it (``ArenaStore``), or the copy of who only looks at it
/// (``ArenaSnapshot``). The checks of an arena are written against it, so that there is one definition of them.
///
/// Offsets are inside: who calls has checked them.
protocol ArenaSource {
    func read(at offset: UInt64, count: Int) -> [UInt8]
    func checksum(at offset: UInt64, count: Int, continuing previous: UInt32) -> UInt32
    /// A commit word.
    func committed(at offset: UInt64) -> UInt64
}

/// An arena, as who reads its records sees it: bytes at offsets that nobody vouches for.
public protocol ArenaReading: Sendable {
    /// In bytes.
    var size: UInt64 { get }

    /// - Throws: `record`, when the bytes are not inside the arena.
    func read(at offset: UInt64, count: UInt64) throws(ArenaError) -> [UInt8]
}
