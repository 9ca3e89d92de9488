// SPDX-License-Identifier: Apache-2.0
package import SystemPackage

@testable package import LiveUpdateCore
@testable package import LiveUpdatePlatform

/// Four files that always exist, and are the same in every run. A slot in a record names one of them or nothing, and
/// never another descriptor of this program.
package final class FixedFiles: DescriptorStore {
    /// An ordinary file with a hole in its middle, an empty file, a file on huge pages without a page, and one more
    /// ordinary file.
    package let files: [FileDescriptor]

    /// Makes the files.
    package init() throws {
        files = [try Self.file(12288), try Self.file(0), try Self.file(4 << 20, .huge2M), try Self.file(4096)]
        for offset in [0, 8192] as [Int64] { try files[0].writeAll(toAbsoluteOffset: offset, [1]) }
    }

    private static func file(_ size: UInt64, _ pageSize: PageSize = .base) throws -> FileDescriptor {
        try makeMemoryFile(named: "fuzz", size: size, pageSize: pageSize).release()
    }

    package func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        FileIdentity(device: 1, inode: UInt64(try keep(descriptor).number))
    }

    package func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        guard let index = files.firstIndex(of: descriptor) else { throw Self.none }
        return DescriptorSlot(Int64(index))
    }

    package func descriptor(in slot: DescriptorSlot) -> FileDescriptor? {
        files.indices.contains(Int(slot.number)) ? files[Int(slot.number)] : nil
    }

    package func release(_ slot: DescriptorSlot) {}

    private static let none = LiveUpdateError(.badFileDescriptor, "no descriptor is kept")
}
