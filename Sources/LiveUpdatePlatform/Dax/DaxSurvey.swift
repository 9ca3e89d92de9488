// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// Reads the DAX regions of this machine: the files of ``DaxTree``, the mounts, and the first bytes of disks that are
/// not mounted.
package struct DaxSurvey {
    private let tree: DaxTree
    private let mounts: [MountedDisk]

    /// Looks at the machine below a directory, which is not `/` in tests.
    private init(root: String) {
        tree = DaxTree(root: root)
        let table = (try? readBytes("\(root)/proc/self/mountinfo")) ?? []
        mounts = table.split(separator: UInt8(ascii: "\n")).compactMap { MountedDisk(line: $0) }
    }

    /// Reads all regions. A machine without persistent memory has none.
    ///
    /// - Parameter root: the directory with /sys, /proc and /dev. It is empty for this machine.
    /// - Returns: the regions of libnvdimm by their numbers, and after them the devdax devices without such a region.
    /// - Throws: EACCES and other errors of sysfs, but not ENOENT.
    package static func regions(root: String = "") throws(SystemCallError) -> [DaxRegion] {
        try DaxSurvey(root: root).regions()
    }

    /// Whether the machine has a virtio-pmem device without a driver. It makes no region then.
    ///
    /// - Parameter root: as for ``regions(root:)``.
    /// - Returns: false also when sysfs cannot be read.
    package static func hasIdleVirtioPmem(root: String = "") -> Bool {
        (try? DaxTree(root: root).hasIdleVirtioPmem()) == true
    }

    private func regions() throws(SystemCallError) -> [DaxRegion] {
        let disks = try placed(in: "/sys/block") { $0.hasPrefix("pmem") }
        let devices = try placed(in: DaxTree.devices) { _ in true }
        var regions: [DaxRegion] = []
        for name in try tree.regionNames() {
            let path = "\(DaxTree.regions)/\(name)"
            guard let size = tree.number("\(path)/size") else { continue }
            let mine =
                disks.filter { $0.place.region == name }.map { disk($0.name) }
                + devices.filter { $0.place.region == name }.map { device($0.name) }
            regions.append(
                DaxRegion(
                    name: name, source: source(of: DevicePlace(tree.place(path))),
                    start: tree.number("\(path)/resource"),
                    size: size, alignment: tree.number("\(path)/align"), devices: mine))
        }
        for one in devices where one.place.region == nil {
            let found = device(one.name)
            regions.append(
                DaxRegion(
                    name: one.name, source: one.place.isOnCXL ? .cxl : .softReserved, start: found.start,
                    size: found.size, alignment: tree.number("\(DaxTree.devices)/\(one.name)/align"), devices: [found]))
        }
        return regions
    }

    private func placed(
        in directory: String, _ isWanted: (String) -> Bool
    ) throws(SystemCallError) -> [(name: String, place: DevicePlace)] {
        try tree.entries(directory).filter(isWanted).map { ($0, DevicePlace(tree.place("\(directory)/\($0)"))) }
    }

    // MARK: Devices

    private func disk(_ name: String) -> DaxDevice {
        let path = "/sys/block/\(name)"
        // A disk counts sectors of 512 bytes.
        let size = (tree.number("\(path)/size") ?? 0) << 9
        // A partition is a directory in that of its disk.
        let partitions = ((try? tree.entries(path)) ?? []).filter { $0.hasPrefix("\(name)p") }
        let numbers = (["dev"] + partitions.map { "\($0)/dev" }).compactMap { tree.deviceNumber("\(path)/\($0)") }
        return DaxDevice(
            name: name, start: tree.number("\(path)/device/resource"), size: size,
            uuid: tree.text("\(path)/device/uuid"), numbers: numbers, allowsDAX: tree.number("\(path)/queue/dax") == 1,
            content: content(ofDisk: name, numbers, hasPartitions: !partitions.isEmpty))
    }

    private func content(ofDisk name: String, _ numbers: [UInt64], hasPartitions: Bool) -> DaxDevice.Content {
        let mounted = mounts.filter { numbers.contains($0.device) }
        if let first = mounted.first { return .fileSystem(type: first.type, mounts: mounted.map(\.mount)) }
        guard let bytes = try? readBeginning("\(tree.root)/dev/\(name)", FileSystemSignature.length) else {
            return .unknown
        }
        if let type = FileSystemSignature.type(of: bytes) { return .fileSystem(type: type, mounts: []) }
        return bytes.allSatisfy { $0 == 0 } && !hasPartitions ? .empty : .unknown
    }

    private func device(_ name: String) -> DaxDevice {
        let path = "\(DaxTree.devices)/\(name)"
        let isRAM = tree.place("\(path)/driver").hasSuffix("/kmem")
        // The kernel follows the link of the device first, so `..` is the directory of the namespace's device.
        return DaxDevice(
            name: name, start: tree.number("\(path)/resource"), size: tree.number("\(path)/size") ?? 0,
            uuid: tree.text("\(path)/../uuid"), numbers: [tree.deviceNumber("\(path)/dev")].compactMap { $0 },
            allowsDAX: true, content: isRAM ? .systemRAM : .device(alignment: tree.number("\(path)/align")))
    }

    private func source(of place: DevicePlace) -> DaxRegion.Source {
        DaxRegion.Source(provider: tree.text("\(DaxTree.regions)/\(place.bus ?? "")/provider") ?? "unknown")
    }
}

/// The mount of a disk, from a line of mountinfo.
private struct MountedDisk {
    /// The number of the disk.
    let device: UInt64
    let type: String
    let mount: DaxMount

    init?(line: ArraySlice<UInt8>) {
        guard let parsed = Mount(line: line) else { return nil }
        let fields = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
        // Behind the hyphen are the type, the source and the options of the file system.
        guard let hyphen = fields.firstIndex(of: "-"), hyphen + 3 < fields.count else { return nil }
        device = parsed.device
        type = parsed.type
        mount = DaxMount(point: parsed.point.string, options: fields[hyphen + 3])
    }
}
