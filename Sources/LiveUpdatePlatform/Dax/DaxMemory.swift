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
        let link = "/sys/dev/block/\(major(device)):\(minor(device))"
        guard let path = realPath(link) else { return nil }
        let parts = path.split(separator: "/")
        guard let last = parts.lastIndex(where: { $0.hasPrefix("region") }) else { return nil }
        self.init(in: "/" + parts[...last].joined(separator: "/"))
    }

    /// All regions and devices of persistent memory of this machine, in no particular order. Only root sees them.
    package static func all() -> [DaxMemory] {
        let names = ((try? directoryEntries(regionBus)) ?? []).filter { $0.hasPrefix("region") }
        return names.compactMap { DaxMemory(in: "\(regionBus)/\($0)") } + DevdaxDevice.all().map(\.memory)
    }

    private static let regionBus = "/sys/bus/nd/devices"

    /// Whether another piece lies in this one.
    package func contains(_ other: DaxMemory) -> Bool {
        other.start >= start && other.start - start <= size && other.size <= size - (other.start - start)
    }

    /// The start as hexadecimal text.
    package var startText: String { "0x" + String(start, radix: 16) }

    /// Reads `resource` and `size` of a directory of sysfs; nil when they are missing. Only root can read `resource`.
    init?(in directory: String) {
        guard let start = try? readHexadecimal("\(directory)/resource"),
            let size = try? readNumber("\(directory)/size"), size > 0
        else { return nil }
        self.init(start: start, size: size)
    }
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

    private static let bus = "/sys/bus/dax/devices"

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
        guard let memory = DaxMemory(in: "\(Self.bus)/\(name)"),
            let alignment = try? readNumber("\(Self.bus)/\(name)/align")
        else { return nil }
        self.name = name
        self.memory = memory
        self.alignment = alignment
    }

    /// All devdax devices of this machine, in no particular order. Only root sees where their memory is.
    package static func all() -> [DevdaxDevice] {
        ((try? directoryEntries(bus)) ?? []).filter { !$0.hasPrefix(".") }.compactMap { DevdaxDevice(name: $0) }
    }
}

private func major(_ device: UInt64) -> UInt64 { (device >> 8 & 0xFFF) | (device >> 32 & ~0xFFF) }

private func minor(_ device: UInt64) -> UInt64 { (device & 0xFF) | (device >> 12 & ~0xFF) }

/// The number that a file of sysfs shows in the form 0x1f.
///
/// - Throws: ENOENT, EACCES; EINVAL for another text.
private func readHexadecimal(_ path: String) throws(SystemCallError) -> UInt64 {
    let text = try readWhole(path)
    guard text.hasPrefix("0x"), let number = UInt64(text.dropFirst(2).prefix { $0.isHexDigit }, radix: 16) else {
        throw SystemCallError("read", .invalidArgument)
    }
    return number
}

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
