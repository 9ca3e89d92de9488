// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import LiveUpdatePlatform
package import SystemPackage

/// A file that has a name on hugetlbfs, `hugetlbfs-file-v1`: the 41 bytes of `huge-memfd-v1` with the same array of
/// folios, three zeros, `u32` open mode (open(2): the access mode and O_APPEND), `u32` length of the path, and the
/// absolute path without a NUL.
package struct HugetlbfsFileRecord: KeptFileRecord, Equatable, Sendable {
    static let compatible = "hugetlbfs-file-v1"
    private static let headLength = HugeMemfdRecord.length + 11

    /// Size, position and pages.
    package var huge: HugeMemfdRecord
    /// The mode in which the file was open.
    package let mode: OpenMode
    /// The path of the file when it was preserved.
    package let path: FilePath

    package var size: UInt64 { huge.size }
    package var position: UInt64 {
        get { huge.position }
        set { huge.position = newValue }
    }

    init(_ huge: HugeMemfdRecord, mode: OpenMode, path: FilePath) {
        self.huge = huge
        self.mode = mode
        self.path = path
    }

    var bytes: [UInt8] {
        let name = path.bytes
        var writer = ByteWriter(capacity: Int(Self.headLength) + name.count)
        writer.put(huge.bytes)
        writer.pad(3)
        writer.put(mode.rawValue)
        writer.put(UInt32(name.count))
        writer.put(name)
        return writer.bytes
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO for bytes that cannot be such a record.
    package init(at data: UInt64, in storage: some RecordSource) throws(LiveUpdateError) {
        huge = try HugeMemfdRecord(at: data, in: storage)
        let head = try storage.read(at: data, count: Self.headLength)
        let length: UInt32
        do throws(ArenaError) {
            var reader = ByteReader(head.suffix(8), Self.compatible)
            guard let mode = OpenMode(rawValue: try reader.take()) else {
                throw ArenaError(.record, "\(Self.compatible): the open mode is unknown")
            }
            self.mode = mode
            length = try reader.take()
        } catch {
            throw LiveUpdateError(error)
        }
        path = try RecordedPath.read(Self.compatible, at: data + Self.headLength, length, in: storage)
    }
}
