// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The regions of persistent memory that preserved files are on, shared by all files on DAX: the FLB `dax-region-v1`.
///
/// 1. The first preserved file on DAX preserves the FLB, without regions.
/// 2. When an update is published, the FLB stores the regions of the files that travel: their place, their origin, the
///    `memmap=` that the command line of the next kernel must contain, and the mount point.
/// 3. The next boot retrieves the stored regions. ``DaxRegionsState/missing`` names those that its kernel lacks, and
///    the file systems that are not mounted.
public final class DaxRegions: FileLifecycleBound {
    public let compatible = DaxRegions.format
    /// The compatible string.
    package static let format = DaxRegionRecord.compatible

    private let look: @Sendable () -> DaxSituation

    /// Makes the FLB. It has no state.
    public convenience init() { self.init { .now() } }

    /// Makes the FLB for a machine that tests describe.
    init(_ look: @escaping @Sendable () -> DaxSituation) { self.look = look }

    public func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: DaxRegionsState) {
        (try context.storage.store(DaxRegionRecord.bytes([])), DaxRegionsState([], look))
    }

    public func unpreserve(_ object: DaxRegionsState, _ context: FLBContext) {}

    public func serialize(_ object: DaxRegionsState, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        let situation = look()
        var regions: Set<DaxRegionRecord> = []
        for user in context.users {
            switch user.compatible {
            case DaxFileRecord.compatible:
                let file = try DaxFileRecord(at: user.data, in: context.storage)
                regions.insert(situation.region(file.memory, of: file.path, file.type))
            case DaxDeviceRecord.compatible:
                regions.insert(situation.region(of: try DaxDeviceRecord(at: user.data, in: context.storage).memory))
            default: break
            }
        }
        let sorted = regions.sorted { ($0.memory.start, $0.place) < ($1.memory.start, $1.place) }
        return try context.storage.store(DaxRegionRecord.bytes(sorted))
    }

    public func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> DaxRegionsState { try resume(context) }

    public func finish(_ object: DaxRegionsState, _ context: FLBContext) {}

    public func resume(_ context: FLBContext) throws(LiveUpdateError) -> DaxRegionsState {
        DaxRegionsState(try DaxRegionRecord.regions(at: context.data, in: context.storage), look)
    }
}

extension DaxRegionRecord {
    /// The mount point as text, by which entries of one region are sorted; empty without one.
    fileprivate var place: String {
        guard case .fileSystem(_, let point?) = use else { return "" }
        return point.string
    }
}

/// The live object of ``DaxRegions``: the regions that the files of the previous boot are on.
public final class DaxRegionsState: Sendable {
    /// The regions; none in the boot that preserves the files.
    package let regions: [DaxRegionRecord]
    private let look: @Sendable () -> DaxSituation

    init(_ regions: [DaxRegionRecord], _ look: @escaping @Sendable () -> DaxSituation) {
        self.regions = regions
        self.look = look
    }

    /// A message for each region that this kernel lacks, and for each file system that is not mounted as before, with
    /// its remedy. This reads sysfs, and only root sees the addresses of regions there: for another user each region
    /// is hidden.
    public var missing: [String] { missing(in: look()) }

    func missing(in situation: DaxSituation) -> [String] {
        regions.compactMap { situation.obstacle(to: $0) }.map { "\($0)" }
    }
}

extension FileContext {
    /// Explains why a file is not found, by the state of its region; nil when the region is as it was. `region` is the
    /// region from the file's own record, which serves if no FLB of the previous boot knows the region.
    func obstacle(on region: DaxRegionRecord, of path: FilePath? = nil) -> DaxObstacle? {
        let known = (try? flbs.withIncoming(DaxRegions()) { $0.regions }) ?? []
        let mine = known.filter { $0.memory.contains(region.memory) && $0.isOn(path) }
        // The longest mount point that leads to the file.
        return DaxSituation.now().obstacle(to: mine.max { $0.place.utf8.count < $1.place.utf8.count } ?? region)
    }
}

extension DaxRegionRecord {
    /// Whether a file is on the recorded file system, by its path; for nil, whether the region has a devdax device.
    fileprivate func isOn(_ path: FilePath?) -> Bool {
        switch (use, path) {
        case (.device, nil): true
        case (.fileSystem(_, let point?), let path?): path.starts(with: point)
        case (.fileSystem(_, nil), _?): true
        case (.device, _?), (.fileSystem, nil): false
        }
    }
}
