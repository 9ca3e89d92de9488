// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// Preserves ordinary memory files: memfd_create(2), and files of tmpfs without a name, which are the same thing.
///
/// Content, size, position, seals and holes stay, because the file itself stays and is only described. A preserved file
/// can still be written, punched, grown or cut. The kernel's orchestrator forbids all but writing. A changed size fails
/// the freeze.
public final class MemfdHandler: FileHandler {
    public let compatible = MemfdHandler.format
    /// The compatible string.
    package static let format = MemfdRecord.compatible
    public let kernelFate = KernelFate.needsLiveUpdate

    /// Makes the handler. It has no state.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        do throws(SystemCallError) {
            // This comes first, because it asks no file system: a file system in user space may not answer.
            guard try descriptor.hasSeals() else { return .refused(because: "not a memory file") }
            guard try FileSystemKind(of: descriptor) == .tmpfs else { return .refused(because: "not a memory file") }
            let status = try FileStatus(of: descriptor)
            guard status.isRegular else { return .refused(because: "not a regular file") }
            guard status.links == 0 else {
                return .refused(
                    because:
                        "a file of tmpfs that has a name: it stays by itself until the kernel ends, open it again by path"
                )
            }
            return .accepted
        } catch {
            return .refused(because: "\(error)")
        }
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let descriptor = try file.keptDescriptor()
        let size: UInt64
        let position: UInt64
        let seals: Seals
        let extents: [Extent]
        do throws(SystemCallError) {
            size = try FileStatus(of: descriptor).size
            position = UInt64(try descriptor.position())
            seals = try descriptor.seals()
            // SEEK_DATA moves the offset, which the users of the file share, so a description of our own is used.
            let own = try descriptor.reopenedForReading()
            extents = try dataExtents(of: own.borrowed, size: size)
        } catch {
            throw LiveUpdateError(error, "describing the memory file of token \(file.token)")
        }
        let record = try MemfdRecord(
            size: size, position: position, seals: seals, extents: extents, in: file.storage)
        return try file.storage.store(record.bytes)
    }

    public func unpreserve(_ file: FileContext) {}

    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { try file.freeze(MemfdRecord.self) }

    public func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)? { file.freezeCheck(MemfdRecord.self) }

    public func freezeObstacle(_ file: FileContext) -> LiveUpdateError? { file.freezeObstacle(MemfdRecord.self) }

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        try file.retrieveKept(MemfdRecord.self)
    }

    public func finish(_ file: FileContext) {}
}
