// SPDX-License-Identifier: Apache-2.0
import Glibc
public import LiveUpdateCore

/// The address of a socket: the bytes of a `sockaddr`, as for bind(2) and getsockname(2).
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    let bytes: [UInt8]

    /// The address of a name in the file system: unix(7).
    ///
    /// - Returns: nil when the name has more than 107 bytes.
    public static func unix(_ path: FilePath) -> SocketAddress? {
        guard path.length <= 107 else { return nil }
        // SAFETY: the string lives as long as the closure, and has this length.
        let name = unsafe path.withPlatformString { name in
            unsafe [UInt8](UnsafeRawBufferPointer(start: name, count: path.length))
        }
        return SocketAddress(bytes: nativeBytes(sa_family_t(AF_UNIX)) + name + [0])
    }

    /// A port of 127.0.0.1, or 0 for any that is free: ip(7).
    public static func loopback(port: UInt16) -> SocketAddress {
        let bytes: [UInt8] = [UInt8(port >> 8), UInt8(port & 0xFF), 127, 0, 0, 1]
        return SocketAddress(bytes: nativeBytes(sa_family_t(AF_INET)) + bytes + [UInt8](repeating: 0, count: 8))
    }

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// Decodes the address of a record; nil when it cannot be an address of these handlers.
    init?(recorded bytes: some Collection<UInt8>) {
        self.bytes = Array(bytes)
        switch family {
        case AF_UNIX: if bytes.count < 3 || bytes.count > 110 { return nil }
        case AF_INET: if bytes.count != 16 { return nil }
        default: return nil
        }
    }

    var family: CInt { bytes.count < 2 ? -1 : CInt(bytes[0]) | CInt(bytes[1]) << 8 }

    /// The name of a Unix socket in the file system; nil for other sockets.
    public var path: FilePath? {
        guard family == AF_UNIX, bytes.count > 2, bytes[2] != 0 else { return nil }
        return FilePath(platformString: (bytes[2...] + [0]).map { CChar(bitPattern: $0) })
    }

    /// The identity of the address. For its clients a socket is its address, also after it was opened again. No file
    /// has such a device number.
    var identity: FileIdentity {
        FileIdentity(device: 1 << 63 | Self.hash(bytes.reversed()), inode: Self.hash(bytes))
    }

    /// The hash FNV-1a.
    private static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    public var description: String {
        if let path { return "\(path)" }
        if family == AF_INET, bytes.count == 16 {
            return bytes[4..<8].map(String.init).joined(separator: ".") + ":\(UInt16(bytes[2]) << 8 | UInt16(bytes[3]))"
        }
        return "@" + String(decoding: bytes.dropFirst(3), as: UTF8.self)
    }
}

private func nativeBytes(_ family: sa_family_t) -> [UInt8] {
    var writer = ByteWriter()
    writer.put(family)
    return writer.bytes
}
