// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The regions of persistent memory that preserved files are on, shared by all files on DAX: the FLB `dax-region-v1`.
///
/// 1. The first preserved file on DAX preserves the FLB, without regions.
/// 2. When an update is published, the FLB stores the regions of the files that travel. The command line of the next
///    kernel must contain the regions that `memmap=` has made.
/// 3. The next boot retrieves the stored regions. ``DaxRegionsState/missing`` names those that its kernel lacks.
public final class DaxRegions: FileLifecycleBound {
    public let compatible = DaxRegions.format
    /// The compatible string.
    package static let format = "dax-region-v1"

    /// Makes the FLB. It has no state.
    public init() {}

    public func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: DaxRegionsState) {
        (try store([], in: context.storage), DaxRegionsState([]))
    }

    public func unpreserve(_ object: DaxRegionsState, _ context: FLBContext) {}

    public func serialize(_ object: DaxRegionsState, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        var regions: Set<DaxMemory> = []
        for user in context.users {
            switch user.compatible {
            case DaxFileRecord.compatible:
                regions.insert(try DaxFileRecord(at: user.data, in: context.storage).memory)
            case DaxDeviceRecord.compatible:
                regions.insert(try DaxDeviceRecord(at: user.data, in: context.storage).memory)
            default: break
            }
        }
        return try store(regions.sorted { $0.start < $1.start }, in: context.storage)
    }

    public func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> DaxRegionsState { try resume(context) }

    public func finish(_ object: DaxRegionsState, _ context: FLBContext) {}

    public func resume(_ context: FLBContext) throws(LiveUpdateError) -> DaxRegionsState {
        do throws(ArenaError) {
            return DaxRegionsState(try Self.regions(at: context.data, in: context.storage))
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// The record: `u32 number of regions, u32 zero`, and for each region `u64 start, u64 size`.
    private func store(_ regions: [DaxMemory], in storage: Storage) throws(LiveUpdateError) -> UInt64 {
        var writer = ByteWriter(capacity: 8 + regions.count * 16)
        writer.put(UInt32(regions.count))
        writer.put(UInt32(0))
        for region in regions {
            writer.put(region.start)
            writer.put(region.size)
        }
        return try storage.store(writer.bytes)
    }

    private static func regions(at data: UInt64, in storage: some RecordSource) throws(ArenaError) -> [DaxMemory] {
        func bytes(_ offset: UInt64, _ count: UInt64) throws(ArenaError) -> [UInt8] {
            guard let bytes = try? storage.read(at: data + offset, count: count) else {
                throw ArenaError(.record, "\(format): \(count) bytes at \(data + offset)")
            }
            return bytes
        }
        var head = ByteReader(try bytes(0, 8), format)
        let count = UInt64(try head.take(UInt32.self))
        var reader = ByteReader(try bytes(8, count * 16), format)
        return try (0..<count).map { _ throws(ArenaError) in
            DaxMemory(start: try reader.take(), size: try reader.take())
        }
    }
}

/// The live object of ``DaxRegions``: the regions that the files of the previous boot are on.
public final class DaxRegionsState: Sendable {
    /// The regions; none in the boot that preserves the files.
    package let regions: [DaxMemory]

    init(_ regions: [DaxMemory]) { self.regions = regions }

    /// A message for each region that this kernel lacks, with its remedy. This reads sysfs, and only root sees regions
    /// there: for another user all regions are missing.
    public var missing: [String] {
        let present = DaxMemory.all()
        return regions.filter { region in !present.contains { $0.contains(region) } }.map { region in
            "the kernel has no persistent memory of \(region.size) bytes at \(region.startText): start it with "
                + "memmap=\(region.size)!\(region.startText), or attach the device"
        }
    }
}
