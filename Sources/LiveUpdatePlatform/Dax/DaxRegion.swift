// SPDX-License-Identifier: Apache-2.0

/// A region of memory that programs map directly, and that stays as it is while the kernel is replaced: a region of the
/// kernel's libnvdimm, or the memory of a devdax device without one.
package struct DaxRegion: Equatable, Sendable {
    /// The origin of a region.
    package enum Source: Equatable, Hashable, Sendable, CustomStringConvertible {
        /// Memory that `memmap=` or the firmware's memory map marks as protected.
        case e820
        /// An NVDIMM, which ACPI's table NFIT describes.
        case nfit
        /// A device of a virtual machine.
        case virtioPmem
        /// A CXL device.
        case cxl
        /// Memory that the firmware sets aside for a special purpose.
        case softReserved
        /// Another driver, by the name of its provider.
        case other(String)

        /// Recognizes the provider of a libnvdimm bus.
        package init(provider: some StringProtocol) {
            switch provider {
            case "e820": self = .e820
            case "ACPI.NFIT": self = .nfit
            case "virtio-pmem": self = .virtioPmem
            case "CXL": self = .cxl
            default: self = .other(String(provider))
            }
        }

        /// The name in tables and in JSON.
        package var description: String {
            switch self {
            case .e820: "e820"
            case .nfit: "NFIT"
            case .virtioPmem: "virtio-pmem"
            case .cxl: "CXL"
            case .softReserved: "soft-reserved"
            case .other(let provider): provider
            }
        }
    }

    /// The kernel's name: `region0`, or the name of the devdax device.
    package let name: String
    /// The origin.
    package let source: Source
    /// The first address; nil when the kernel hides it from this user.
    package let start: UInt64?
    /// The size, in bytes.
    package let size: UInt64
    /// The alignment that the region's namespaces need, in bytes; nil when the kernel does not say.
    package let alignment: UInt64?
    /// The devices on the region.
    package let devices: [DaxDevice]

    /// Describes a region.
    package init(
        name: String, source: Source, start: UInt64?, size: UInt64, alignment: UInt64?, devices: [DaxDevice]
    ) {
        self.name = name
        self.source = source
        self.start = start
        self.size = size
        self.alignment = alignment
        self.devices = devices
    }

    /// The addresses; nil when the kernel hides them from this user.
    package var range: Range<UInt64>? { memory?.range }

    /// The `memmap=` of a kernel's command line that makes the region. Memory that the firmware marks has none.
    package func entry(in commandLine: KernelCommandLine) -> Memmap? {
        guard source == .e820, let range else { return nil }
        return commandLine.memmaps.last { $0.kind == .persistent && $0.range.contains(range) }
    }

    /// The place of the region; nil when the kernel hides it from this user.
    package var memory: DaxMemory? { start.map { DaxMemory(start: $0, size: size) } }

    /// Whether the next kernel must find content on the region. Unknown content counts as such.
    package var isUsed: Bool { devices.contains { $0.content.isUsed } }
}

/// A device on a region: a disk such as /dev/pmem0, or a devdax device such as /dev/dax0.0.
package struct DaxDevice: Equatable, Sendable {
    /// The content of a device.
    package enum Content: Equatable, Sendable {
        /// A file system, with its mounts. A file system that is not mounted has no mounts.
        case fileSystem(type: String, mounts: [DaxMount])
        /// A disk without a file system that is known here, or that could not be read.
        case unknown
        /// A disk that begins with zeros.
        case empty
        /// A devdax device, which programs map as a whole. The alignment is the size of its mappings, in bytes.
        case device(alignment: UInt64?)
        /// A devdax device. The kernel uses its memory as ordinary memory.
        case systemRAM

        /// Whether the next kernel must find the content. Unknown content counts as such.
        package var isUsed: Bool {
            switch self {
            case .fileSystem, .device, .unknown: true
            case .empty, .systemRAM: false
            }
        }
    }

    /// The kernel's name: `pmem0` or `dax0.0`.
    package let name: String
    /// The first address of the data; nil when the kernel hides it.
    package let start: UInt64?
    /// The size, in bytes.
    package let size: UInt64
    /// The UUID of the namespace, as sysfs shows it. A namespace that fills a region of `memmap=` has none.
    package let uuid: String?
    /// The numbers of the device and of its partitions: `st_dev` of the files on a disk, `st_rdev` of a devdax device.
    package let numbers: [UInt64]
    /// Whether programs can map the memory itself, and not only copies of it.
    package let allowsDAX: Bool
    /// The content.
    package let content: Content

    /// Describes a device.
    package init(
        name: String, start: UInt64?, size: UInt64, uuid: String? = nil, numbers: [UInt64] = [], allowsDAX: Bool,
        content: Content
    ) {
        self.name = name
        self.start = start
        self.size = size
        self.uuid = uuid
        self.numbers = numbers
        self.allowsDAX = allowsDAX
        self.content = content
    }

    /// The path of the device's node.
    package var path: String { "/dev/\(name)" }
}

/// A mount of a file system that is on a region.
package struct DaxMount: Equatable, Sendable {
    /// The rule by which files are on DAX.
    package enum Rule: String, Sendable {
        /// All files: `dax` or `dax=always`.
        case always
        /// The files with the attribute FS_XFLAG_DAX, which is the rule without an option.
        case inode
        /// No file.
        case never
    }

    /// The mount point.
    package let point: String
    /// The rule for its files.
    package let rule: Rule

    /// Holds a mount.
    package init(point: String, rule: Rule) {
        self.point = point
        self.rule = rule
    }

    /// Holds a mount, with its rule by the options of its file system: ext4(5), xfs(5).
    init(point: String, options: some StringProtocol) {
        let options = options.split(separator: ",")
        let rule: Rule =
            if options.contains("dax") || options.contains("dax=always") {
                .always
            } else {
                options.contains("dax=never") ? .never : .inode
            }
        self.init(point: point, rule: rule)
    }
}

/// The types of file systems on which files can be on DAX, by their first bytes.
enum FileSystemSignature {
    /// The number of bytes that ``type(of:)`` looks at.
    static let length = 2048

    /// The type of the file system that begins with these bytes; nil for an unknown one.
    static func type(of bytes: [UInt8]) -> String? {
        guard bytes.count >= length else { return nil }
        if bytes.starts(with: "XFSB".utf8) { return "xfs" }
        // s_magic of the superblock, which begins at byte 1024.
        return bytes[1080] == 0x53 && bytes[1081] == 0xEF ? "ext4" : nil
    }
}
