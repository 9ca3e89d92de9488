// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
import SystemPackage

/// Reads the DAX regions of this machine from sysfs: Documentation/ABI/testing/sysfs-bus-nd and sysfs-bus-dax of the
/// kernel's documentation.
package struct DaxSurvey {
    private let root: String
    private let mounts: [MountedDisk]

    /// Looks at the machine below a directory, which is not `/` in tests.
    private init(root: String) {
        self.root = root
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

    private func regions() throws(SystemCallError) -> [DaxRegion] {
        let names = try entries("/sys/bus/nd/devices").filter { Self.isRegion($0[...]) }
        let disks = try entries("/sys/block").filter { $0.hasPrefix("pmem") }.map {
            Placed($0, in: place("/sys/block/\($0)"))
        }
        let devices = try entries("/sys/bus/dax/devices").map { Placed($0, in: place("/sys/bus/dax/devices/\($0)")) }
        var regions: [DaxRegion] = []
        for name in names {
            let path = "/sys/bus/nd/devices/\(name)"
            guard let size = number("\(path)/size") else { continue }
            let mine =
                disks.filter { $0.region == name }.map { disk($0.name) }
                + devices.filter { $0.region == name }.map { device($0.name) }
            regions.append(
                DaxRegion(
                    name: name, source: source(of: place(path)), start: number("\(path)/resource"), size: size,
                    alignment: number("\(path)/align"), devices: mine))
        }
        for one in devices where one.region == nil {
            let found = device(one.name)
            regions.append(
                DaxRegion(
                    name: one.name, source: one.isOnCXL ? .cxl : .softReserved, start: found.start, size: found.size,
                    alignment: number("/sys/bus/dax/devices/\(one.name)/align"), devices: [found]))
        }
        return regions
    }

    // MARK: Devices

    private func disk(_ name: String) -> DaxDevice {
        let path = "/sys/block/\(name)"
        // A disk counts sectors of 512 bytes.
        let size = (number("\(path)/size") ?? 0) << 9
        return DaxDevice(
            name: name, start: number("\(path)/device/resource"), size: size, uuid: text("\(path)/device/uuid"),
            allowsDAX: number("\(path)/queue/dax") == 1, content: content(ofDisk: name))
    }

    private func content(ofDisk name: String) -> DaxDevice.Content {
        let path = "/sys/block/\(name)"
        // A partition is a directory in that of its disk.
        let partitions = ((try? entries(path)) ?? []).filter { $0.hasPrefix("\(name)p") }.map { "\(path)/\($0)/dev" }
        let numbers = (["\(path)/dev"] + partitions).compactMap { text($0) }
        let mounted = mounts.filter { numbers.contains($0.device) }
        if let first = mounted.first { return .fileSystem(type: first.type, mounts: mounted.map(\.mount)) }
        guard let bytes = try? readBeginning("\(root)/dev/\(name)", FileSystemSignature.length) else { return .unknown }
        if let type = FileSystemSignature.type(of: bytes) { return .fileSystem(type: type, mounts: []) }
        return bytes.allSatisfy { $0 == 0 } && partitions.isEmpty ? .empty : .unknown
    }

    private func device(_ name: String) -> DaxDevice {
        let path = "/sys/bus/dax/devices/\(name)"
        let isRAM = place("\(path)/driver").hasSuffix("/kmem")
        // The kernel follows the link of the device first, so `..` is the directory of the namespace's device.
        return DaxDevice(
            name: name, start: number("\(path)/resource"), size: number("\(path)/size") ?? 0,
            uuid: text("\(path)/../uuid"), allowsDAX: true,
            content: isRAM ? .systemRAM : .device(alignment: number("\(path)/align")))
    }

    private func source(of place: String) -> DaxRegion.Source {
        let bus = place.split(separator: "/").last { $0.hasPrefix("ndbus") } ?? ""
        return DaxRegion.Source(provider: text("/sys/bus/nd/devices/\(bus)/provider") ?? "unknown")
    }

    // MARK: Files of sysfs

    /// The names in a directory, with numbers in their order. A directory that does not exist has none.
    private func entries(_ path: String) throws(SystemCallError) -> [String] {
        do throws(SystemCallError) {
            return try directoryEntries(root + path).filter { !$0.hasPrefix(".") }.sorted {
                ($0.count, $0) < ($1.count, $1)
            }
        } catch {
            if error.errno == .noSuchFileOrDirectory { return [] }
            throw error
        }
    }

    /// The target of a link; empty without one.
    private func place(_ path: String) -> String { (try? linkTarget(root + path)) ?? "" }

    private func text(_ path: String) -> String? {
        (try? readWhole(root + path)).map { String($0.trimmed) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The number in a file, which is hexadecimal behind `0x`. Files that only root may read have none for others.
    private func number(_ path: String) -> UInt64? {
        guard let text = text(path) else { return nil }
        return text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }

    fileprivate static func isRegion(_ name: Substring) -> Bool {
        name.hasPrefix("region") && name.dropFirst(6).allSatisfy(\.isNumber) && name.count > 6
    }
}

/// A device, with its place in the tree of devices.
private struct Placed {
    let name: String
    private let components: [Substring]

    /// Splits the place, which is the target of the device's link in sysfs, such as
    /// `../../devices/platform/e820_pmem/ndbus0/region0/namespace0.0/block/pmem0`.
    init(_ name: String, in place: String) {
        self.name = name
        components = place.split(separator: "/")
    }

    /// The region of libnvdimm that the device is on. A CXL region has the same kind of name, and no bus above it.
    var region: String? {
        guard let bus = components.firstIndex(where: { $0.hasPrefix("ndbus") }), bus + 1 < components.count,
            DaxSurvey.isRegion(components[bus + 1])
        else { return nil }
        return String(components[bus + 1])
    }

    var isOnCXL: Bool { components.contains { $0.hasPrefix("dax_region") } }
}

/// The mount of a disk, from a line of mountinfo.
private struct MountedDisk {
    /// `259:1`
    let device: String
    let type: String
    let mount: DaxMount

    init?(line: ArraySlice<UInt8>) {
        guard let parsed = Mount(line: line) else { return nil }
        let fields = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
        // Behind the hyphen are the type, the source and the options of the file system.
        guard let hyphen = fields.firstIndex(of: "-"), hyphen + 3 < fields.count else { return nil }
        device = fields[2]
        type = parsed.type
        mount = DaxMount(point: parsed.point.string, options: fields[hyphen + 3])
    }
}
