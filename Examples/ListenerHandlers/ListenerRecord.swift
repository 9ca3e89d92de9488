// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore

/// The options of a listening socket that are needed to open it again: socket(7).
public struct ListenerOptions: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// `SO_REUSEADDR`
    public static let reuseAddress = ListenerOptions(rawValue: 1)
    /// `O_NONBLOCK`
    public static let nonBlocking = ListenerOptions(rawValue: 2)
    static let all: ListenerOptions = [.reuseAddress, .nonBlocking]
}

/// A listening socket, 32 bytes: `u32 backlog, u32 options, u32 permissions of the name, u32 length of the address, u64
/// offset of the address, u64 zero`. The address has no fixed length, so it is stored separately.
///
/// A change of this layout needs new numbers in the handlers' compatible strings.
struct ListenerRecord: StoredRecord, Equatable {
    static let name = "listener"
    static let length = 32

    var backlog: UInt32
    var options: ListenerOptions
    /// The permissions of a Unix socket that has a name; 0 for other sockets.
    var permissions: UInt32
    private let addressLength: UInt32
    private let addressOffset: UInt64

    /// Describes a socket, and stores its address.
    ///
    /// - Throws: ENOSPC.
    init(
        backlog: UInt32, options: ListenerOptions, permissions: UInt32, address: SocketAddress, in storage: Storage
    ) throws(LiveUpdateError) {
        self.backlog = backlog
        self.options = options
        self.permissions = permissions
        addressLength = UInt32(address.bytes.count)
        addressOffset = try storage.store(address.bytes)
    }

    init(_ reader: inout ByteReader) throws(ArenaError) {
        backlog = try reader.take()
        options = ListenerOptions(rawValue: try reader.take())
        permissions = try reader.take()
        addressLength = try reader.take()
        addressOffset = try reader.take()
        let zero = try reader.take(UInt64.self)
        guard options.isSubset(of: .all), permissions <= 0o777, addressLength <= 128, zero == 0 else {
            throw ArenaError(.record, "\(Self.name): options \(options.rawValue), an address of \(addressLength) bytes")
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.put(backlog)
        writer.put(options.rawValue)
        writer.put(permissions)
        writer.put(addressLength)
        writer.put(addressOffset)
        writer.put(UInt64(0))
    }

    /// The address at which the socket listens.
    ///
    /// - Throws: EIO when the record points out of the arena, or to bytes that are no address.
    func address(in storage: Storage) throws(LiveUpdateError) -> SocketAddress {
        let bytes = try storage.read(at: addressOffset, count: UInt64(addressLength))
        guard let address = SocketAddress(recorded: bytes) else {
            throw LiveUpdateError(.ioError, "\(Self.name): an address that is none")
        }
        return address
    }
}
