// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The path at the end of a record.
enum RecordedPath {
    /// Reads a path.
    ///
    /// - Throws: EIO for bytes that cannot be an absolute path.
    static func read(
        _ record: String, at data: UInt64, _ length: UInt32, in storage: some RecordSource
    ) throws(LiveUpdateError) -> FilePath {
        guard (1..<4096).contains(length) else {
            throw LiveUpdateError(.ioError, "\(record): a path of \(length) bytes")
        }
        return try path(record, try storage.read(at: data, count: UInt64(length)))
    }

    /// Makes a path of its bytes.
    ///
    /// - Throws: EIO for bytes that cannot be an absolute path.
    static func path(_ record: String, _ name: [UInt8]) throws(LiveUpdateError) -> FilePath {
        guard name.first == UInt8(ascii: "/"), !name.contains(0) else {
            throw LiveUpdateError(.ioError, "\(record): a path that is not absolute, or has a NUL in it")
        }
        let path = FilePath(bytes: name)
        // FilePath removes redundant slashes. A path that this library wrote has none.
        guard path.bytes == name else {
            throw LiveUpdateError(.ioError, "\(record): a path with redundant slashes")
        }
        return path
    }
}
