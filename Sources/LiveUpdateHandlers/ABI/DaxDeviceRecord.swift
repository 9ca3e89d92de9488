// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import LiveUpdatePlatform

/// A devdax device, `dax-device-v1`: `u64 start, u64 size, u64 alignment`, in bytes of physical memory, `u32` open mode
/// (open(2): the access mode and O_APPEND), `u32` zero. The record covers the whole device, which has no holes.
package struct DaxDeviceRecord: Equatable, Sendable {
    static let compatible = "dax-device-v1"
    private static let length: UInt64 = 32

    /// The memory of the device.
    package let memory: DaxMemory
    /// The alignment of its mappings in bytes.
    package let alignment: UInt64
    /// The mode in which the device was open.
    package let mode: OpenMode

    init(_ device: DevdaxDevice, mode: OpenMode) {
        memory = device.memory
        alignment = device.alignment
        self.mode = mode
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Int(Self.length))
        writer.put(memory.start)
        writer.put(memory.size)
        writer.put(alignment)
        writer.put(mode.rawValue)
        writer.put(UInt32(0))
        return writer.bytes
    }

    /// Reads the record that a handle names.
    ///
    /// - Throws: EIO for bytes that cannot be such a record.
    package init(at data: UInt64, in storage: some RecordSource) throws(LiveUpdateError) {
        let bytes = try storage.read(at: data, count: Self.length)
        do throws(ArenaError) {
            var reader = ByteReader(bytes, Self.compatible)
            memory = DaxMemory(start: try reader.take(), size: try reader.take())
            alignment = try reader.take()
            guard let mode = OpenMode(rawValue: try reader.take()) else {
                throw ArenaError(.record, "\(Self.compatible): the open mode is unknown")
            }
            self.mode = mode
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// Whether a device of this machine is the recorded one.
    func describes(_ device: DevdaxDevice) -> Bool { device.memory == memory && device.alignment == alignment }
}
