// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The list of luod's descriptors of the files in a session of the kernel. The list travels as a memory file in that
/// session. This type does no I/O.
///
/// The layout is `"LUOCARGO"`, `u32 version`, `u32 number of descriptors`, and for each descriptor `s64 slot, u64
/// token, u64 position, u32 open mode, u32 seals, u32 user, u32 permissions, u32 owner, u32 group`. Several descriptors
/// can have one file, and so one token.
struct KernelCargo: Equatable, Sendable {
    /// A descriptor that luod held. The kernel preserves only the file: a retrieve returns a descriptor for reading and
    /// writing, at offset 0, without the seals that were added after the file was preserved.
    struct Item: Equatable, Sendable {
        var slot: DescriptorSlot
        /// The token of the file in the kernel's session.
        var token: UInt64
        /// The offset in bytes.
        var position: UInt64
        var mode: OpenMode
        var seals: Seals
        /// The quota counts the descriptor for this user.
        var user: UInt32
        /// The permissions and the owner of the file. The kernel gives the file to root, and all rights to all users.
        var permissions: FilePermissions
        var owner: UInt32
        var group: UInt32
    }

    /// The descriptors, in the order of their slots.
    var items: [Item]

    /// The token of the list.
    static let token: UInt64 = 1 << 63
    /// The token of the arena.
    static let arenaToken: UInt64 = 1 << 63 | 1

    /// The name of the kernel's session for a state. Each state of a machine has its own session.
    ///
    /// - Returns: `luod:` and the path. A path that is longer than a name becomes two checksums and its last bytes. The
    ///   second checksum is that of the path read backwards. Another checksum of the bytes in their order would not
    ///   help: it is equal for the same pairs of paths, whatever bytes precede them.
    static func sessionName(ofState path: String) -> SessionName {
        let bytes = [UInt8](path.utf8)
        let whole = SessionName(bytes: [UInt8]("luod:".utf8) + bytes)
        guard !whole.isValid else { return whole }
        let sums = [bytes, bytes.reversed()].map { String(CRC32C.of($0), radix: 16) }.joined(separator: "-")
        let beginning = [UInt8]("luod-\(sums):".utf8)
        return SessionName(bytes: beginning + bytes.suffix(longestName - beginning.count))
    }

    /// The most bytes of a name in the kernel.
    private static let longestName = 63

    private static let magic: UInt64 = 0x4F47_5241_434F_554C
    private static let version: UInt32 = 1
    private static let headLength = 16
    private static let itemLength = 48

    init(_ items: [Item]) { self.items = items }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Self.headLength + items.count * Self.itemLength)
        writer.put(Self.magic)
        writer.put(Self.version)
        writer.put(UInt32(items.count))
        for item in items {
            writer.put(item.slot.number)
            writer.put(item.token)
            writer.put(item.position)
            writer.put(item.mode.rawValue)
            writer.put(item.seals.rawValue)
            writer.put(item.user)
            writer.put(UInt32(item.permissions.rawValue))
            writer.put(item.owner)
            writer.put(item.group)
        }
        return writer.bytes
    }

    /// Reads a list.
    ///
    /// - Throws: `record`, for bytes that are no such list.
    init(_ bytes: [UInt8]) throws(ArenaError) {
        var reader = ByteReader(bytes, "list of the kernel's session")
        let (magic, version) = (try reader.take(UInt64.self), try reader.take(UInt32.self))
        guard magic == Self.magic, version == Self.version else {
            throw ArenaError(.record, "the list of the kernel's session has version \(version)")
        }
        let count = Int(try reader.take(UInt32.self))
        guard count <= (bytes.count - Self.headLength) / Self.itemLength else {
            throw ArenaError(.record, "\(count) descriptors in a list of \(bytes.count) bytes")
        }
        items = []
        for _ in 0..<count {
            let slot = DescriptorSlot(try reader.take())
            let (token, position) = (try reader.take(UInt64.self), try reader.take(UInt64.self))
            guard let mode = OpenMode(rawValue: try reader.take()), slot.number > 0 else {
                throw ArenaError(.record, "slot \(slot.number) is not positive, or its open mode is unknown")
            }
            items.append(
                Item(
                    slot: slot, token: token, position: position, mode: mode,
                    seals: Seals(rawValue: try reader.take()), user: try reader.take(),
                    permissions: FilePermissions(rawValue: mode_t(try reader.take(UInt32.self) & 0o7777)),
                    owner: try reader.take(), group: try reader.take()))
        }
    }
}
