// SPDX-License-Identifier: Apache-2.0

/// The files of sysfs about persistent memory: Documentation/ABI/testing/sysfs-bus-nd and sysfs-bus-dax of the kernel's
/// documentation. All paths are below a directory, which is empty for this machine.
struct DaxTree: Sendable {
    /// The directory of the regions and namespaces of libnvdimm.
    static let regions = "/sys/bus/nd/devices"
    /// The directory of the devdax devices.
    static let devices = "/sys/bus/dax/devices"

    private static let virtio = "/sys/bus/virtio/devices"
    /// `VIRTIO_ID_PMEM`
    private static let virtioPmem: UInt64 = 0x1B

    let root: String

    init(root: String = "") { self.root = root }

    // MARK: Names

    /// The names of the regions of libnvdimm, by their numbers.
    ///
    /// - Throws: EACCES and other errors of sysfs, but not ENOENT.
    func regionNames() throws(SystemCallError) -> [String] {
        try entries(Self.regions).filter { Self.isRegion($0[...]) }
    }

    /// The names in a directory, with numbers in their order. A directory that does not exist has none.
    ///
    /// - Throws: EACCES and other errors of sysfs, but not ENOENT.
    func entries(_ path: String) throws(SystemCallError) -> [String] {
        let names = try ifThere { () throws(SystemCallError) in try directoryEntries(root + path) } ?? []
        return names.filter { !$0.hasPrefix(".") }.sorted { ($0.count, $0) < ($1.count, $1) }
    }

    static func isRegion(_ name: Substring) -> Bool {
        name.hasPrefix("region") && name.count > 6 && name.dropFirst(6).allSatisfy(\.isNumber)
    }

    /// Whether the machine has a virtio-pmem device without a driver. It makes no region then.
    func hasIdleVirtioPmem() throws(SystemCallError) -> Bool {
        try entries(Self.virtio).contains { name in
            number("\(Self.virtio)/\(name)/device") == Self.virtioPmem && place("\(Self.virtio)/\(name)/driver").isEmpty
        }
    }

    // MARK: Content

    /// The target of a link; empty without one.
    func place(_ path: String) -> String { (try? linkTarget(root + path)) ?? "" }

    /// The text of a file; nil without one, and for a file that this user may not read.
    func text(_ path: String) -> String? {
        (try? readWhole(root + path)).map { String($0.trimmed) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The number in a file, which is hexadecimal behind `0x`; nil without one, and for a file that this user may not
    /// read.
    func number(_ path: String) -> UInt64? {
        guard let text = text(path) else { return nil }
        return text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }

    /// The number of a device, as stat(2) gives it, from a file `dev` with the text `259:1`.
    func deviceNumber(_ path: String) -> UInt64? {
        let parts = (text(path) ?? "").split(separator: ":").compactMap { UInt64($0) }
        return parts.count == 2 ? LiveUpdatePlatform.deviceNumber(major: parts[0], minor: parts[1]) : nil
    }

    /// The memory of a region or device, from the files `resource` and `size` of its directory. Only root can read
    /// `resource`.
    func memory(_ directory: String) -> DaxMemory? {
        guard let start = number("\(directory)/resource"), let size = number("\(directory)/size"), size > 0 else {
            return nil
        }
        return DaxMemory(start: start, size: size)
    }
}

/// The place of a device in the tree of devices: the target of its link in sysfs, such as
/// `../../devices/platform/e820_pmem/ndbus0/region0/namespace0.0/block/pmem0`.
struct DevicePlace {
    private let components: [Substring]

    init(_ path: String) { components = path.split(separator: "/") }

    /// The region of libnvdimm that the device is on. A CXL region has the same kind of name, and no bus above it.
    var region: String? {
        guard let bus = components.firstIndex(where: { $0.hasPrefix("ndbus") }), bus + 1 < components.count,
            DaxTree.isRegion(components[bus + 1])
        else { return nil }
        return String(components[bus + 1])
    }

    /// The bus of libnvdimm that the device is on.
    var bus: String? { components.last { $0.hasPrefix("ndbus") }.map { String($0) } }

    var isOnCXL: Bool { components.contains { $0.hasPrefix("dax_region") } }
}
