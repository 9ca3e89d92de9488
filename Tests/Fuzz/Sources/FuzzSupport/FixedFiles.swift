// SPDX-License-Identifier: Apache-2.0
public import LiveUpdatePlatform
public import SystemPackage

@testable public import LiveUpdateCore

/// Four files that always exist, and are the same in every run. A slot in a record names one of them or nothing, and
/// never another descriptor of this program.
public final class FixedFiles: DescriptorStore {
    /// An ordinary file with a hole in its middle, an empty file, a file on huge pages without a page, and one more
    /// ordinary file.
    public let files: [FileDescriptor]

    /// Makes the files.
    public init() throws {
        files = [try Self.file(12288), try Self.file(0), try Self.file(4 << 20, .huge2M), try Self.file(4096)]
        for offset in [0, 8192] as [Int64] { try files[0].writeAll(toAbsoluteOffset: offset, [1]) }
    }

    private static func file(_ size: UInt64, _ pageSize: PageSize = .base) throws -> FileDescriptor {
        try makeMemoryFile(named: "fuzz", size: size, pageSize: pageSize).release()
    }

    public func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        FileIdentity(device: 1, inode: UInt64(try keep(descriptor).number))
    }

    public func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        guard let index = files.firstIndex(of: descriptor) else { throw Self.none }
        return DescriptorSlot(Int64(index))
    }

    public func descriptor(in slot: DescriptorSlot) -> FileDescriptor? {
        files.indices.contains(Int(slot.number)) ? files[Int(slot.number)] : nil
    }

    public func release(_ slot: DescriptorSlot) {}

    private static let none = LiveUpdateError(.badFileDescriptor, "no descriptor is kept")
}
