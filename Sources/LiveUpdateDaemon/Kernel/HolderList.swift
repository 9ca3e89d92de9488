// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine

/// The list of the descriptors in a holder (``HolderProcess``). The list is in a memory file, for which the holder has
/// a descriptor of a fixed number, so that the next luod finds it. This type does no I/O.
///
/// The layout is `"LUOHOLDR"`, `u32 version`, `s32 number of the kernel's session` (-1 without one), `u32 whether the
/// session comes from the previous kernel`, `u32 number of descriptors`, and for each descriptor its slot, kind and
/// label as in a ``ControlMessage``, and its `s32 number`.
struct HolderList: Equatable, Sendable {
    /// A session of the kernel's orchestrator.
    struct Session: Equatable, Sendable {
        var number: CInt
        /// Whether the previous kernel has handed over the session, so that its files can be retrieved from it.
        var isIncoming: Bool
    }

    var session: Session?
    var entries: [KeeperState.Entry]

    /// The descriptor number of the list in a holder.
    static let number: CInt = 3

    private static let magic: UInt64 = 0x5244_4C4F_484F_554C
    private static let version: UInt32 = 1

    init(session: Session?, entries: [KeeperState.Entry]) { (self.session, self.entries) = (session, entries) }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 32 + entries.count * 40)
        writer.put(Self.magic)
        writer.put(Self.version)
        writer.put(session?.number ?? -1)
        writer.put(UInt32(session?.isIncoming == true ? 1 : 0))
        writer.put(UInt32(entries.count))
        for entry in entries {
            writer.put(entry.held)
            writer.put(entry.number)
        }
        return writer.bytes
    }

    /// Reads a list.
    ///
    /// - Throws: `record`, for bytes that are no such list.
    init(_ bytes: [UInt8]) throws(ArenaError) {
        var reader = ByteReader(bytes, "list of the holder")
        let (magic, version) = (try reader.take(UInt64.self), try reader.take(UInt32.self))
        guard magic == Self.magic, version == Self.version else {
            throw ArenaError(.record, "the list of the holder has version \(version)")
        }
        let (number, isIncoming) = (try reader.take(CInt.self), try reader.take(UInt32.self) != 0)
        session = number < 0 ? nil : Session(number: number, isIncoming: isIncoming)
        entries = []
        for _ in 0..<(try reader.take(UInt32.self)) {
            entries.append(KeeperState.Entry(held: try reader.takeHeldSlot(), number: try reader.take()))
        }
        guard reader.isAtEnd else { throw ArenaError(.record, "the list of the holder is longer than it says") }
    }
}
