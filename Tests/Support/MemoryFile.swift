// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
package import SystemPackage

/// A memory file of a test. It is closed with the last reference to this object.
package final class MemoryFile: Sendable {
    private let file: OwnedDescriptor
    /// The device and the inode of the file.
    package let identity: FileIdentity

    /// A file of zeros.
    package init(_ name: String = "test", size: UInt64 = 4096) throws {
        file = try makeMemoryFile(named: name, size: size)
        identity = try FileStatus(of: file.borrowed).identity
    }

    /// Takes over a file.
    package init(taking file: consuming OwnedDescriptor) throws {
        identity = try FileStatus(of: file.borrowed).identity
        self.file = file
    }

    /// A file with these bytes.
    package convenience init(_ name: String = "test", bytes: [UInt8]) throws {
        try self.init(name, size: UInt64(bytes.count))
        try write(bytes, at: 0)
    }

    /// The descriptor of the file, which callers may use but not close.
    package var descriptor: FileDescriptor { file.borrowed }

    /// Another descriptor of the same open file description, for the caller to close.
    package func duplicate() throws -> OwnedDescriptor { try file.borrowed.duplicated() }

    /// All bytes of the file.
    package func bytes() throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(try FileStatus(of: descriptor).size))
        _ = try unsafe bytes.withUnsafeMutableBytes { buffer in
            try unsafe descriptor.read(fromAbsoluteOffset: 0, into: buffer)
        }
        return bytes
    }

    /// Overwrites a part of the file.
    package func write(_ bytes: [UInt8], at offset: UInt64) throws {
        try descriptor.writeAll(toAbsoluteOffset: Int64(offset), bytes)
    }

    /// Overwrites one word of the file.
    package func write<Value: FixedWidthInteger>(word: Value, at offset: UInt64) throws {
        try write(nativeBytes(word), at: offset)
    }
}

/// The bytes of an integer in native order.
package func nativeBytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    // SAFETY: the bytes of an integer are initialized, and are copied before it goes away.
    unsafe withUnsafeBytes(of: value) { unsafe [UInt8]($0) }
}

/// The integer at an offset of `bytes`.
package func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self, _ bytes: [UInt8], at offset: Int) -> Value {
    // SAFETY: any bytes are an integer, and the range is checked by the slice.
    unsafe bytes[offset..<offset + MemoryLayout<Value>.size].withUnsafeBytes { unsafe $0.loadUnaligned(as: Value.self) }
}
