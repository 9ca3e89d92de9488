// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// A piece of persistent memory: a region of the kernel's nvdimm bus, or a device of its DAX bus. Its place in physical
/// memory identifies it over restarts of the kernel. Its name does not.
package struct DaxMemory: Hashable, Sendable {
    /// The physical address of the first byte.
    package let start: UInt64
    /// The size in bytes.
    package let size: UInt64

    /// Names a piece of memory.
    package init(start: UInt64, size: UInt64) {
        self.start = start
        self.size = size
    }

    /// The region of the block device that a file system is on; nil for a device that is in no region, and for a
    /// process that may not read the address of the region.
    ///
    /// - Parameter device: `st_dev` of a file on the file system.
    package init?(underFileSystemOn device: UInt64) {
        guard let place = realPath("/sys/dev/block/\(major(device)):\(minor(device))"),
            let region = DevicePlace(place).region, let memory = DaxTree().memory("\(DaxTree.regions)/\(region)")
        else { return nil }
        self = memory
    }

    /// Whether another piece lies in this one.
    package func contains(_ other: DaxMemory) -> Bool {
        other.start >= start && other.start - start <= size && other.size <= size - (other.start - start)
    }

    /// The addresses; nil when they have no end.
    package var range: Range<UInt64>? {
        let (end, overflow) = start.addingReportingOverflow(size)
        return overflow ? nil : start..<end
    }

    /// The start as hexadecimal text.
    package var startText: String { "0x" + String(start, radix: 16) }
}

/// A devdax device: a character device that maps persistent memory without a file system.
package struct DevdaxDevice: Hashable, Sendable {
    /// The name in /dev: `dax0.0`
    package let name: String
    /// The memory that the device maps.
    package let memory: DaxMemory
    /// The alignment of its mappings in bytes.
    package let alignment: UInt64

    /// The path of the device's node.
    package var path: String { "/dev/\(name)" }

    /// The devdax device with a number.
    ///
    /// - Parameter number: `st_rdev` of the device's node.
    /// Nil for another device, and for a process that may not read the address of the memory.
    package init?(number: UInt64) {
        guard let path = realPath("/sys/dev/char/\(major(number)):\(minor(number))"),
            let name = path.split(separator: "/").last
        else { return nil }
        self.init(name: String(name))
    }

    private init?(name: String) {
        let tree = DaxTree()
        guard let memory = tree.memory("\(DaxTree.devices)/\(name)"),
            let alignment = tree.number("\(DaxTree.devices)/\(name)/align")
        else { return nil }
        self.name = name
        self.memory = memory
        self.alignment = alignment
    }

    /// All devdax devices of this machine, in no particular order. Only root sees where their memory is.
    package static func all() -> [DevdaxDevice] {
        ((try? DaxTree().entries(DaxTree.devices)) ?? []).compactMap { DevdaxDevice(name: $0) }
    }
}

private func major(_ device: UInt64) -> UInt64 { (device >> 8 & 0xFFF) | (device >> 32 & ~0xFFF) }

private func minor(_ device: UInt64) -> UInt64 { (device & 0xFF) | (device >> 12 & ~0xFF) }

/// The path without symbolic links: realpath(3); nil when it leads nowhere.
private func realPath(_ path: String) -> String? {
    // SAFETY: realpath(3) allocates the string, which ends with a NUL.
    guard let found = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(found) }
    return unsafe String(cString: found)
}

/// The absolute path without symbolic links and redundant slashes: realpath(3). A path that leads nowhere stays as it
/// is.
package func canonicalPath(_ path: String) -> String { realPath(path) ?? path }
