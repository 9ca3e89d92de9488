// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// Preserves devdax devices (/dev/dax0.0): persistent memory without a file system. The whole device is preserved.
///
/// The place of the memory identifies the device, because the next kernel may number devices and inodes in another way.
/// Under the next kernel the handler opens the device that has the same start, size and alignment. The files of this
/// handler depend on ``DaxRegions``.
public final class DaxDeviceHandler: FileHandler {
    public let compatible = DaxDeviceHandler.format
    /// The compatible string.
    package static let format = DaxDeviceRecord.compatible
    public let kernelFate = KernelFate.stays

    /// Makes the handler. It has no state.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        do throws(SystemCallError) {
            let status = try FileStatus(cached: descriptor)
            guard status.type == .characterDevice else { return .refused(because: "not a devdax device") }
            guard Self.device(of: status) != nil else { return .refused(because: "a device, but not a devdax device") }
            return .accepted
        } catch {
            return .refused(because: "\(error)")
        }
    }

    private static func device(of status: FileStatus) -> DevdaxDevice? {
        status.type == .characterDevice ? DevdaxDevice(number: status.deviceNumber) : nil
    }

    public func identity(of descriptor: FileDescriptor) -> FileIdentity? {
        guard let status = try? FileStatus(cached: descriptor), let device = Self.device(of: status) else { return nil }
        return FileIdentity(device: Self.noDevice, inode: device.memory.start)
    }

    /// The device in the identity of a devdax device, where the inode is the start of its memory. No file system has
    /// this number.
    private static let noDevice = UInt64.max - 1

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let descriptor = try file.keptDescriptor()
        let device: DevdaxDevice?
        let mode: OpenMode
        do throws(SystemCallError) {
            device = Self.device(of: try FileStatus(cached: descriptor))
            mode = try descriptor.openMode()
        } catch {
            throw LiveUpdateError(error, "describing the device of token \(file.token)")
        }
        guard let device else {
            throw LiveUpdateError(.noSuchAddressOrDevice, "token \(file.token) is no devdax device any more")
        }
        return try file.storage.store(DaxDeviceRecord(device, mode: mode).bytes)
    }

    public func unpreserve(_ file: FileContext) {}

    public func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor? {
        let record = try DaxDeviceRecord(at: file.data, in: file.storage)
        guard let device = DevdaxDevice.all().first(where: record.describes) else {
            let obstacle = file.obstacle(on: DaxRegionRecord(memory: record.memory, use: .device))
            let reason =
                obstacle?.reason ?? "no devdax device has \(record.memory.size) bytes at \(record.memory.startText) "
                + "with mappings of \(record.alignment) bytes"
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "token \(file.token): \(reason)",
                remedy: obstacle?.remedy ?? "luoctl dax shows the devices that are there")
        }
        do throws(SystemCallError) {
            let found = try findFile(FilePath(device.path))
            guard let there = Self.device(of: try FileStatus(cached: found.borrowed)), record.describes(there) else {
                throw SystemCallError("open", .noSuchAddressOrDevice)
            }
            return try found.borrowed.reopened(record.mode).release()
        } catch {
            throw LiveUpdateError(error, "token \(file.token): opening \(device.path)")
        }
    }

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        _ = try DaxDeviceRecord(at: file.data, in: file.storage)
        guard identity(of: try file.keptDescriptor()) == file.identity else {
            throw LiveUpdateError(
                .staleNFSFileHandle,
                "the held descriptor of token \(file.token) is another device than the preserved one")
        }
        return .kept
    }

    public func finish(_ file: FileContext) {}
}
