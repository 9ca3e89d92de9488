// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// A range of a process's addresses, as /proc/PID/smaps shows it (proc(5)).
package struct MappedArea: Equatable, Sendable {
    /// The addresses.
    package var range: Range<UInt64>
    /// Whether stores reach the file.
    package var isShared: Bool
    /// The file. Shared memory without a name has a file, too. Private memory without a name has 0:0.
    package var file: FileIdentity
    /// The kernel's name of the file, such as `/dev/zero (deleted)` for shared memory without a name, or a name of the
    /// kernel's own in brackets, such as `[heap]`; empty for private memory without a name.
    package var path: String
    /// Whether the area is mapped with huge pages of hugetlb.
    package var isHuge = false
    /// Whether the process may write to the file through the area, or could make it writable with mprotect(2). Without
    /// this, the process may only read a file that it has mapped with MAP_SHARED.
    package var mayBeWritten = false
    /// The page size of the file.
    package var pageSize: PageSize = .base
    /// The bytes of huge pages that this process has touched, and so mapped. More bytes of the file may exist.
    package var mapped: UInt64 = 0
    /// Whether the mapping has reserved the huge pages that it has not touched: it was made without MAP_NORESERVE.
    package var isReserved = false
    /// The bytes of base pages that belong to this process alone: memory without a file, and copies of a file's pages
    /// that were written in a private mapping.
    package var anonymous: UInt64 = 0
    /// The bytes that are swapped out.
    package var swapped: UInt64 = 0

    /// The bytes of huge pages that the mapping has reserved and the process has not touched. Another process may have
    /// touched pages of a shared mapping.
    package var untouched: UInt64 {
        guard isReserved else { return 0 }
        let length = range.upperBound - range.lowerBound
        return length - min(mapped, length)
    }

    /// Whether a file is mapped.
    package var hasFile: Bool { path.hasPrefix("/") }

    /// All areas of a process.
    ///
    /// - Throws: EACCES or EPERM without the right to look at the process, ENOENT or ESRCH when it has ended.
    static func all(of process: CInt) throws(SystemCallError) -> [MappedArea] {
        areas(inMaps: try readWhole("/proc/\(process)/smaps"))
    }

    /// Whether the text of maps has a private area of a file.
    static func isPrivate(_ file: FileIdentity, inMaps text: String) -> Bool {
        text.split(separator: "\n").contains { line in
            MapsLine(line).map { !$0.isShared && $0.file == file } ?? false
        }
    }

    /// Reads the text of smaps. Each area is a line like those of maps, then `Name: value` lines.
    static func areas(inMaps text: String) -> [MappedArea] {
        var areas: [MappedArea] = []
        for line in text.split(separator: "\n") {
            if let header = MapsLine(line) {
                areas.append(MappedArea(header))
            } else if !areas.isEmpty {
                areas[areas.count - 1].note(line)
            }
        }
        return areas
    }

    private init(_ line: MapsLine) {
        range = line.range
        isShared = line.isShared
        file = line.file
        path = line.path
    }

    private mutating func note(_ line: Substring) {
        if line.hasPrefix("KernelPageSize:") {
            if let size = PageSize(bytes: Self.bytes(line)) { pageSize = size }
        } else if line.hasPrefix("Shared_Hugetlb:") || line.hasPrefix("Private_Hugetlb:") {
            // "Private" means that one process has mapped the page, not that the mapping is private.
            mapped += Self.bytes(line)
        } else if line.hasPrefix("Anonymous:") {
            anonymous = Self.bytes(line)
        } else if line.hasPrefix("Swap:") {
            swapped = Self.bytes(line)
        } else if line.hasPrefix("VmFlags:") {
            let flags = line.split(separator: " ")
            isHuge = flags.contains("ht")
            isReserved = isHuge && !flags.contains("nr")
            mayBeWritten = flags.contains("mw")
        }
    }

    /// `Name:    4096 kB`
    private static func bytes(_ line: Substring) -> UInt64 { (UInt64(line.filter(\.isNumber)) ?? 0) << 10 }
}

extension RunningProcess {
    /// The areas of the process's memory, in the order of their addresses.
    ///
    /// - Throws: EACCES or EPERM without the right to look at the process, ENOENT or ESRCH when it has ended.
    package var areas: [MappedArea] { get throws(SystemCallError) { try MappedArea.all(of: id) } }

    /// The bytes in an area that belong to the process alone: private memory, or copies of a file's pages that were
    /// written in a private mapping. Copies that are swapped out are not counted.
    ///
    /// - Throws: as ``areas``, for huge pages.
    package func ownBytes(in area: MappedArea) throws(SystemCallError) -> UInt64 {
        if area.isShared { return 0 }
        // `Swap` of a mapped file also counts swapped pages of the file itself: proc(5).
        guard area.isHuge else { return area.anonymous + (area.hasFile ? 0 : area.swapped) }
        let pages = try PageFrames(of: id).anonymous(in: area.range, pageSize: area.pageSize)
        return UInt64(pages.count) * area.pageSize.bytes
    }

    /// The bytes that the process has written in private mappings of a file: they are not in the file. Copies that are
    /// swapped out are not counted.
    ///
    /// - Throws: as ``areas``.
    package func ownBytes(over file: FileIdentity) throws(SystemCallError) -> UInt64 {
        // The kernel counts pages for smaps, which takes long for much memory, and not for maps.
        guard MappedArea.isPrivate(file, inMaps: try readWhole("/proc/\(id)/maps")) else { return 0 }
        var bytes: UInt64 = 0
        for area in try areas where !area.isShared && area.file == file { bytes += try ownBytes(in: area) }
        return bytes
    }

    /// The link of /proc to the file of an area. Only a process with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE may follow
    /// it.
    package func link(toFileOf area: MappedArea) -> String { MappedArea.link(process: id, area.range) }

    /// The identity of the file that the process executes; nil when it cannot be seen.
    package var program: FileIdentity? {
        // fstat(2) would wait for a file system that does not answer.
        guard let found = try? findFileBehind("/proc/\(id)/exe") else { return nil }
        return (try? FileStatus(cached: found.borrowed))?.identity
    }
}

extension MappedArea {
    /// `/proc/PID/map_files/START-END`
    static func link(process: CInt, _ range: Range<UInt64>) -> String {
        "/proc/\(process)/map_files/\(String(range.lowerBound, radix: 16))-\(String(range.upperBound, radix: 16))"
    }
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
