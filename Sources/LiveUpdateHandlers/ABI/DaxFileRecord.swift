// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import LiveUpdatePlatform
package import SystemPackage

/// A file on a DAX file system, `dax-file-v1`:
///
/// | offset | content |
/// |---|---|
/// | 0 | u64 size, u64 position |
/// | 16 | u64 file system, u64 inode, u32 generation of the inode |
/// | 36 | u32 open mode (open(2): the access mode and O_APPEND) |
/// | 40 | u64 start and u64 size of the region of persistent memory |
/// | 56 | u64 number of extents, u64 offset of the extents: as in `memfd-extents-v1` |
/// | 72 | u32 type of the file system (1 ext4, 2 xfs), u32 length of the path |
/// | 80 | the absolute path without a NUL |
package struct DaxFileRecord: KeptFileRecord, Equatable, Sendable {
    static let compatible = "dax-file-v1"
    private static let headLength: UInt64 = 80

    package let size: UInt64
    package var position: UInt64
    /// The identity of the file.
    package let file: LastingIdentity
    /// The mode in which the file was open.
    package let mode: OpenMode
    /// The region of persistent memory that the file system is on.
    package let memory: DaxMemory
    private let array: ExtentArray
    /// The type of the file system.
    package let type: DaxFileSystem
    /// The path of the file when it was preserved or frozen.
    package var path: FilePath

    /// Describes a file and stores its extents.
    ///
    /// - Throws: ENOSPC.
    init(
        size: UInt64, position: UInt64, file: LastingIdentity, mode: OpenMode, memory: DaxMemory, extents: [Extent],
        type: DaxFileSystem, path: FilePath, in storage: Storage
    ) throws(LiveUpdateError) {
        self.size = size
        self.position = position
        self.file = file
        self.mode = mode
        self.memory = memory
        array = try ExtentArray(storing: extents, in: storage)
        self.type = type
        self.path = path
    }

    var bytes: [UInt8] {
        let name = path.bytes
        var writer = ByteWriter(capacity: Int(Self.headLength) + name.count)
        writer.put(size)
        writer.put(position)
        writer.put(file.fileSystem)
        writer.put(file.inode)
        writer.put(file.generation)
        writer.put(mode.rawValue)
        writer.put(memory.start)
        writer.put(memory.size)
        array.encode(into: &writer)
        writer.put(type.number)
        writer.put(UInt32(name.count))
        writer.put(name)
        return writer.bytes
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO for bytes that cannot be such a record.
    package init(at data: UInt64, in storage: some RecordSource) throws(LiveUpdateError) {
        let head = try storage.read(at: data, count: Self.headLength)
        let length: UInt32
        do throws(ArenaError) {
            var reader = ByteReader(head, Self.compatible)
            size = try reader.take()
            position = try reader.take()
            file = LastingIdentity(
                fileSystem: try reader.take(), inode: try reader.take(), generation: try reader.take())
            guard let mode = OpenMode(rawValue: try reader.take()) else {
                throw ArenaError(.record, "\(Self.compatible): the open mode is unknown")
            }
            self.mode = mode
            memory = DaxMemory(start: try reader.take(), size: try reader.take())
            array = try ExtentArray(&reader)
            guard let type = DaxFileSystem(number: try reader.take()) else {
                throw ArenaError(.record, "\(Self.compatible): the type of the file system is unknown")
            }
            self.type = type
            length = try reader.take()
        } catch {
            throw LiveUpdateError(error)
        }
        path = try RecordedPath.read(Self.compatible, at: data + Self.headLength, length, in: storage)
    }

    /// The ranges in which the file had data when it was preserved, in the file's order.
    ///
    /// - Throws: EIO when the array is damaged, or names ranges outside of the file.
    package func extents(in storage: some RecordSource) throws(LiveUpdateError) -> [Extent] {
        try array.extents(of: size, in: storage)
    }
}

extension DaxFileSystem {
    /// The number in a record.
    var number: UInt32 {
        switch self {
        case .ext4: 1
        case .xfs: 2
        }
    }

    init?(number: UInt32) {
        guard let type = Self.allCases.first(where: { $0.number == number }) else { return nil }
        self = type
    }
}
