// SPDX-License-Identifier: Apache-2.0

/// A source of an arena's bytes: the mapped file of the process that runs it (``ArenaStore``), or a copy for inspection
/// (``ArenaSnapshot``). The checks of an arena use this protocol, so that they are defined once.
///
/// Callers pass only offsets that they have checked.
protocol ArenaSource {
    func read(at offset: UInt64, count: Int) -> [UInt8]
    func checksum(at offset: UInt64, count: Int, continuing previous: UInt32) -> UInt32
    /// Loads a commit word.
    func committed(at offset: UInt64) -> UInt64
}

/// Read access to an arena's records, by offsets that need not be valid.
package protocol ArenaReading: Sendable {
    /// The size of the arena in bytes.
    var size: UInt64 { get }

    /// - Throws: `record` when the bytes are not inside the arena.
    func read(at offset: UInt64, count: UInt64) throws(ArenaError) -> [UInt8]
}
