// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// A range of a process's addresses that is mapped with huge pages, as /proc/PID/smaps shows it (proc(5)).
package struct HugePageArea: Equatable, Sendable {
    /// The addresses.
    package var range: Range<UInt64>
    /// Whether stores reach the file.
    package var isShared: Bool
    /// The file. Memory without a name has a file, too.
    package var file: FileIdentity
    /// The kernel's name of the file: `/anon_hugepage (deleted)` for memory without a file of its own.
    package var path: String
    /// The page size of the file.
    package var pageSize: PageSize
    /// The bytes that this process has touched, and so mapped. More bytes of the file may exist.
    package var mapped: UInt64

    /// All areas of a process.
    ///
    /// - Throws: EACCES or EPERM without the right to look at the process, ENOENT or ESRCH when it has ended.
    static func all(of process: CInt) throws(SystemCallError) -> [HugePageArea] {
        areas(inMaps: try readWhole("/proc/\(process)/smaps"))
    }

    /// Reads the text of smaps. Each area is a line like those of maps, then `Name: value` lines.
    static func areas(inMaps text: String) -> [HugePageArea] {
        var areas: [HugePageArea] = []
        var area: HugePageArea?
        var isHuge = false
        func end() {
            if let area, isHuge { areas.append(area) }
        }
        for line in text.split(separator: "\n") {
            if let header = MapsLine(line) {
                end()
                area = HugePageArea(header)
                isHuge = false
            } else if line.hasPrefix("KernelPageSize:") {
                if let size = PageSize(bytes: bytes(line)) { area?.pageSize = size }
            } else if line.hasPrefix("Shared_Hugetlb:") || line.hasPrefix("Private_Hugetlb:") {
                // "Private" means that one process has mapped the page, not that the mapping is private.
                area?.mapped += bytes(line)
            } else if line.hasPrefix("VmFlags:") {
                isHuge = line.split(separator: " ").contains("ht")
            }
        }
        end()
        return areas
    }

    private init(_ line: MapsLine) {
        range = line.range
        isShared = line.isShared
        file = line.file
        path = line.path
        pageSize = .base
        mapped = 0
    }

    /// `Name:    4096 kB`
    private static func bytes(_ line: Substring) -> UInt64 { (UInt64(line.filter(\.isNumber)) ?? 0) << 10 }
}

/// A line of /proc/PID/maps: `7f00-7f20 rw-s 00000000 00:11 1234      /memfd:x (deleted)`
struct MapsLine {
    let range: Range<UInt64>
    let isShared: Bool
    let file: FileIdentity
    let path: String

    /// Parses a line; nil when it is another line of smaps.
    init?(_ line: some StringProtocol) {
        let fields = line.split(separator: " ", maxSplits: 5)
        guard fields.count >= 5, fields[1].count == 4 else { return nil }
        let ends = fields[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
        let device = fields[3].split(separator: ":").compactMap { UInt64($0, radix: 16) }
        guard ends.count == 2, ends[0] <= ends[1], device.count == 2, let inode = UInt64(fields[4]) else { return nil }
        range = ends[0]..<ends[1]
        isShared = fields[1].hasSuffix("s")
        file = FileIdentity(device: deviceNumber(major: device[0], minor: device[1]), inode: inode)
        path = fields.count > 5 ? String(fields[5].drop(while: { $0 == " " })) : ""
    }
}
