// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
import SystemPackage

/// The persistent memory of a machine at one moment: its regions, the mounts, and the command line of its kernel.
///
/// Before an update a situation tells on which region a file is. After the update it tells whether the region is there
/// again. Both are decisions without I/O.
package struct DaxSituation: Sendable {
    private let regions: [DaxRegion]
    private let mounts: [Mount]
    private let commandLine: KernelCommandLine

    /// Describes a machine.
    package init(regions: [DaxRegion], mounts: [Mount] = [], commandLine: KernelCommandLine = KernelCommandLine("")) {
        self.regions = regions
        self.mounts = mounts
        self.commandLine = commandLine
    }

    /// Looks at this machine. A part that cannot be read is empty.
    static func now() -> DaxSituation {
        DaxSituation(
            regions: (try? DaxSurvey.regions()) ?? [], mounts: (try? Mount.all()) ?? [],
            commandLine: KernelCommandLine((try? readWhole("/proc/cmdline")) ?? ""))
    }

    // MARK: Before an update

    /// The region of a file on a file system.
    func region(_ memory: DaxMemory, of path: FilePath, _ type: DaxFileSystem) -> DaxRegionRecord {
        var mount: Mount?
        if case .leads(let way) = MountWay(path, to: [type.rawValue], device: nil, mounts) { mount = way.last }
        return region(.fileSystem(type, mountPoint: mount?.point), of: memory) { device in
            mount.map { device.numbers.contains($0.device) } ?? false
        }
    }

    /// The region of a devdax device.
    func region(of device: DaxMemory) -> DaxRegionRecord { region(.device, of: device) { $0.start == device.start } }

    private func region(
        _ use: DaxRegionRecord.Use, of memory: DaxMemory, _ isUsed: (DaxDevice) -> Bool
    ) -> DaxRegionRecord {
        guard let found = region(with: memory), let place = found.memory else {
            return DaxRegionRecord(memory: memory, use: use)
        }
        return DaxRegionRecord(
            memory: place, source: found.source, memmap: found.entry(in: commandLine),
            namespace: found.devices.first(where: isUsed)?.uuid.flatMap { NamespaceID($0) }, use: use)
    }

    private func region(with memory: DaxMemory) -> DaxRegion? {
        regions.first { $0.memory?.contains(memory) == true }
    }

    // MARK: After an update

    /// The reason why files that were on a region cannot be found; nil when everything is as it was.
    package func obstacle(to record: DaxRegionRecord) -> DaxObstacle? {
        guard let region = region(with: record.memory) else { return obstacleWithoutRegion(record) }
        let devices = region.devices.filter { device in
            record.namespace == nil || device.uuid.flatMap { NamespaceID($0) } == record.namespace
        }
        if devices.isEmpty, !region.devices.isEmpty {
            return DaxObstacle(
                "\(region.name) at \(record.memory.startText) has another namespace than before: it was made again, which "
                    + "erased it", "finish the sessions: the files are lost")
        }
        switch record.use {
        case .device: return obstacle(to: devices, on: region)
        case .fileSystem(let type, let point): return obstacle(to: type, at: point, on: devices, of: region)
        }
    }

    private func obstacleWithoutRegion(_ record: DaxRegionRecord) -> DaxObstacle {
        if regions.contains(where: { $0.start == nil }) {
            return DaxObstacle(
                "the kernel hides the addresses of regions from this user", "run luod as root, which sees them")
        }
        guard let memmap = record.memmap else {
            return DaxObstacle("the kernel has no \(record.memory.text)", record.source.remedy)
        }
        return commandLine.memmaps.contains(memmap)
            ? DaxObstacle("\(memmap.argument) of the kernel's command line has no region", record.source.remedy)
            : DaxObstacle(
                "the kernel has no \(record.memory.text): it was started without \(memmap.argument)",
                "start the kernel with \(memmap.argument); what this kernel has written there is lost")
    }

    private func obstacle(to devices: [DaxDevice], on region: DaxRegion) -> DaxObstacle? {
        if devices.contains(where: \.isMappedWhole) { return nil }
        if let device = devices.first(where: { $0.content == .systemRAM }) {
            return DaxObstacle(
                "the kernel uses \(device.path) as its own memory, and has overwritten it",
                "start the kernel with modprobe.blacklist=kmem")
        }
        return DaxObstacle("\(region.name) has no devdax device", "run modprobe -a dax_pmem device_dax")
    }

    private func obstacle(
        to type: DaxFileSystem, at point: FilePath?, on devices: [DaxDevice], of region: DaxRegion
    ) -> DaxObstacle? {
        let disks = devices.filter { !$0.isMappedWhole && $0.content != .systemRAM }
        guard let disk = disks.first else {
            return DaxObstacle("\(region.name) has no disk", "run modprobe nd_pmem")
        }
        let found = disks.flatMap { disk in disk.mounts.map { (disk, $0) } }
        let command = "mount -o dax \(disk.path) \(point?.string ?? "DIRECTORY")"
        guard let first = found.first else {
            let place = point.map { " on \($0)" } ?? ""
            return DaxObstacle("\(disk.path) is not mounted\(place) (\(type.rawValue))", "run \(command)")
        }
        let here = found.filter { point == nil || $0.1.point == point?.string }
        if here.isEmpty {
            return DaxObstacle(
                "\(first.0.path) is mounted on \(first.1.point), and was mounted on \(point?.string ?? "")",
                "run mount -o dax \(first.0.path) \(point?.string ?? "")")
        }
        guard here.allSatisfy({ $0.1.rule == .never }) else { return nil }
        return DaxObstacle(
            "\(here[0].0.path) is mounted on \(here[0].1.point) without DAX", "unmount it, and run \(command)")
    }
}

/// A reason why files on persistent memory cannot be found, with its remedy.
package struct DaxObstacle: Equatable, Sendable, CustomStringConvertible {
    /// The reason.
    package let reason: String
    /// The remedy.
    package let remedy: String

    init(_ reason: String, _ remedy: String) {
        self.reason = reason
        self.remedy = remedy
    }

    package var description: String { "\(reason): \(remedy)" }
}

extension DaxDevice {
    fileprivate var isMappedWhole: Bool {
        if case .device = content { true } else { false }
    }

    fileprivate var mounts: [DaxMount] {
        if case .fileSystem(_, let mounts) = content { mounts } else { [] }
    }
}

extension DaxMemory {
    /// The memory in words: `persistent memory of 256M at 0x40000000`
    fileprivate var text: String { "persistent memory of \(MemoryAmount.text(size)) at \(startText)" }
}

extension DaxRegion.Source {
    /// The remedy for a region of this source that is missing.
    fileprivate var remedy: String {
        switch self {
        case .e820: "run modprobe -a nd_pmem nd_e820"
        case .nfit: "attach the NVDIMM, and run modprobe -a nfit nd_pmem"
        case .virtioPmem: "attach the virtio-pmem device, and run modprobe -a virtio_pmem nd_pmem"
        case .cxl: "attach the CXL device, and run modprobe -a cxl_pmem nd_pmem"
        case .softReserved: "run modprobe -a dax_hmem device_dax"
        case .other: "luoctl dax shows the regions that are there"
        }
    }
}
