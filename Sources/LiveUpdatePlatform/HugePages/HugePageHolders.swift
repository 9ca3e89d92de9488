// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// The holders of huge pages at one moment, as far as this process may see them. It is for display.
///
/// A page in use belongs to a file or to a private mapping of a process. A process has the file open or mapped, or the
/// file has a name on a hugetlbfs mount. The pool may have more pages in use than were found: see ``pages(of:)``.
package struct HugePageHolders: Sendable {
    /// A file on huge pages.
    package struct File: Hashable, Sendable {
        /// The device and inode number.
        package let identity: FileIdentity
        /// The name of the file. For a file without a name it is the text that the kernel shows: `/memfd:x (deleted)`
        package let path: String
        /// The page size of the file system.
        package let pageSize: PageSize
        /// The size in bytes.
        package let size: UInt64
        /// The allocated bytes. If the file could not be asked, they are the bytes that are known to be mapped, so
        /// there may be more.
        package var allocated: UInt64
        /// The number of names of the file: 0 for memory files.
        package let links: UInt64
    }

    /// The mappings that a process has of one file.
    package struct MappedFile: Hashable, Sendable {
        /// The device and inode number.
        package let identity: FileIdentity
        /// The name, like ``File/path``.
        package let path: String
        /// The page size of the file system.
        package let pageSize: PageSize
        /// The bytes in all mappings that the process has of this file.
        package var bytes: UInt64
        /// Whether stores reach the file.
        package let isShared: Bool
        /// The bytes that the mappings have reserved and no process has touched. A shared mapping has no reservation
        /// for pages that the file has.
        package var reserved: UInt64 = 0
    }

    /// A hugetlbfs mount that reserves pages for its files: the option `min_size=`.
    package struct ReservingMount: Equatable, Sendable {
        /// The mount point.
        package let point: String
        /// The page size of the file system.
        package let pageSize: PageSize
        /// The bytes that the mount keeps for its files, used and unused ones together.
        package let least: UInt64
        /// The part of them that no file uses and no mapping has reserved.
        package var unused: UInt64
    }

    /// An open descriptor of a file on huge pages.
    package struct OpenFile: Hashable, Sendable {
        /// The number of the descriptor in the process.
        package let descriptor: CInt
        /// The file that it is open on.
        package let file: File
    }

    /// A process that has files on huge pages open, or huge pages mapped.
    package struct Holder: Sendable {
        /// The number of the process.
        package let process: CInt
        /// The name of the process's command.
        package let command: String
        /// The files that it has mapped.
        package var mapped: [MappedFile] = []
        /// The files that it has open.
        package var open: [OpenFile] = []
    }

    /// The number of pages of one size, by place.
    package struct Pages: Equatable, Sendable {
        /// Pages in files that a process has open or mapped.
        package var held: UInt64 = 0
        /// Pages in private mappings that belong to no file.
        package var anonymous: UInt64 = 0
        /// Pages in files with a name that no process has open or mapped.
        package var unopened: UInt64 = 0

        /// All pages that were found. If the pool has more pages in use, no visible process or file holds them.
        package var accountedFor: UInt64 { held + anonymous + unopened }
    }

    /// The processes that hold huge pages, by number.
    package internal(set) var holders: [Holder] = []
    /// Files with a name on a hugetlbfs mount that no process has open or mapped, by path.
    package internal(set) var unopened: [File] = []
    /// The hugetlbfs mounts that reserve pages.
    package internal(set) var reservingMounts: [ReservingMount] = []
    /// Processes that this process may not look at.
    package internal(set) var hiddenProcesses: [CInt] = []
    /// Directories of hugetlbfs mounts that could not be read or that another mount hides.
    package internal(set) var hiddenDirectories: [String] = []

    var held: [FileIdentity: File] = [:]
    var anonymous: [PageSize: AnonymousPages] = [:]

    /// Pages of private mappings. A page that processes share since a fork counts once, if this process may know
    /// frames.
    struct AnonymousPages: Sendable {
        var frames: Set<UInt64> = []
        var unknown: UInt64 = 0

        var count: UInt64 { UInt64(frames.count) + unknown }

        mutating func add(_ more: [UInt64]) {
            for frame in more { if frame == 0 { unknown += 1 } else { frames.insert(frame) } }
        }
    }

    init() {}

    /// The number of reserved pages of one size that were found: of mappings, each file once, and of mounts.
    package func reservedPages(of size: PageSize) -> (mappings: UInt64, mounts: UInt64) {
        var files: [FileIdentity: UInt64] = [:]
        var own: UInt64 = 0
        for mapped in holders.flatMap(\.mapped) where mapped.pageSize == size {
            // Two processes that have mapped a file have one reservation; each private mapping has its own.
            if mapped.isShared {
                files[mapped.identity] = max(files[mapped.identity] ?? 0, mapped.reserved)
            } else {
                own += mapped.reserved
            }
        }
        let mounts = reservingMounts.filter { $0.pageSize == size }.reduce(0) { $0 + $1.unused }
        return ((files.values.reduce(0, +) + own) / size.bytes, mounts / size.bytes)
    }

    /// The number of pages of one size by place. Each page counts once.
    package func pages(of size: PageSize) -> Pages {
        func count(_ files: some Sequence<File>) -> UInt64 {
            files.reduce(0) { $1.pageSize == size ? $0 + $1.allocated / size.bytes : $0 }
        }
        return Pages(
            held: count(held.values), anonymous: anonymous[size]?.count ?? 0, unopened: count(unopened))
    }
}

/// The search for holders: the descriptors and mappings of all processes, then the hugetlbfs mounts.
extension HugePageHolders {
    /// Looks at every process that this process may look at, without stopping or changing any. Processes that end
    /// meanwhile are left out.
    ///
    /// - Throws: ENOENT without /proc.
    package static func survey() throws(SystemCallError) -> HugePageHolders {
        var found = HugePageHolders()
        let mounts = ((try? Mount.all()) ?? []).filter { $0.type == "hugetlbfs" }
        let devices = Set(mounts.map(\.device)).union(memoryFileDevices())
        for process in try processNumbers() { found.look(at: process, devices) }
        for mount in mounts { found.look(at: mount) }
        found.reservingMounts = mounts.compactMap { found.reserving($0) }
        found.unopened.sort { $0.path < $1.path }
        return found
    }

    /// The file systems of hugetlb memory files: the kernel mounts one for each page size.
    private static func memoryFileDevices() -> [UInt64] {
        ((try? HugePagePool.all()) ?? []).compactMap { pool in
            guard let file = try? makeMemoryFile(named: "probe", size: 0, pageSize: pool.pageSize) else { return nil }
            return try? FileStatus(of: file.borrowed).identity.device
        }
    }

    private mutating func look(at process: CInt, _ devices: Set<UInt64>) {
        // Kernel threads and zombies have no memory of their own, and no such line.
        guard let status = try? readWhole("/proc/\(process)/status"),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("HugetlbPages:") })
        else { return }
        var holder = Holder(process: process, command: commandName(of: process))
        do throws(SystemCallError) {
            holder.open = try openFiles(of: process)
            let hasTouched = line.contains { ("1"..."9").contains($0) }
            if hasTouched || Self.hasMapped(devices, process) { holder.mapped = try mappedFiles(of: process) }
        } catch {
            if [.permissionDenied, .notPermitted].contains(error.errno) { hiddenProcesses.append(process) }
        }
        if !holder.mapped.isEmpty || !holder.open.isEmpty { holders.append(holder) }
    }

    // MARK: Descriptors

    private mutating func openFiles(of process: CInt) throws(SystemCallError) -> [OpenFile] {
        var open: [OpenFile] = []
        for number in try descriptorNumbers(of: process) {
            guard let file = Self.file("/proc/\(process)/fd/\(number)") else { continue }
            held[file.identity] = file
            open.append(OpenFile(descriptor: number, file: file))
        }
        return open
    }

    /// The file behind a link of /proc, if it is a regular file on huge pages.
    private static func file(_ link: String) -> File? {
        guard case .hugetlbfs(let bytes)? = try? FileSystemKind(at: link), let pageSize = PageSize(bytes: bytes),
            let status = try? FileStatus(at: link), status.isRegular
        else { return nil }
        return File(
            identity: status.identity, path: (try? linkTarget(link)) ?? "", pageSize: pageSize, size: status.size,
            allocated: status.allocated, links: status.links)
    }

    // MARK: Mappings

    /// Whether a process has mapped files of these file systems, by /proc/PID/maps. smaps would walk all page tables of
    /// the process, which takes long for a large one.
    private static func hasMapped(_ devices: Set<UInt64>, _ process: CInt) -> Bool {
        ((try? readWhole("/proc/\(process)/maps")) ?? "").split(separator: "\n").contains { line in
            MapsLine(line).map { devices.contains($0.file.device) } ?? false
        }
    }

    private mutating func mappedFiles(of process: CInt) throws(SystemCallError) -> [MappedFile] {
        struct Key: Hashable {
            let file: FileIdentity
            let isShared: Bool
        }
        var mapped: [Key: MappedFile] = [:]
        for area in try MappedArea.all(of: process) where area.isHuge {
            note(area, of: process)
            let none = MappedFile(
                identity: area.file, path: area.path, pageSize: area.pageSize, bytes: 0, isShared: area.isShared)
            let key = Key(file: area.file, isShared: area.isShared)
            mapped[key, default: none].bytes += area.mapped
            mapped[key, default: none].reserved += area.untouched
        }
        return mapped.values.map(withoutPagesOfOthers).sorted {
            ($0.identity.inode, $0.isShared ? 0 : 1) < ($1.identity.inode, $1.isShared ? 0 : 1)
        }
    }

    /// The reservation of a shared mapping ends with the pages that the file lacks: other processes may have touched
    /// the others.
    private func withoutPagesOfOthers(_ mapped: MappedFile) -> MappedFile {
        guard mapped.isShared, let file = held[mapped.identity], file.size > 0 else { return mapped }
        var mapped = mapped
        mapped.reserved = min(mapped.reserved, file.size - min(file.allocated, file.size))
        return mapped
    }

    /// The reservation of a mount; nil for a mount without one.
    private func reserving(_ mount: Mount) -> ReservingMount? {
        let prefix = "min_size="
        guard let option = mount.fileSystemOptions.first(where: { $0.hasPrefix(prefix) }),
            let least = UInt64(option.dropFirst(prefix.count)), least > 0,
            case .hugetlbfs(let bytes)? = try? FileSystemKind(at: mount.point.string),
            let pageSize = PageSize(bytes: bytes)
        else { return nil }
        let files = (Array(held.values) + unopened).filter { $0.identity.device == mount.device }
        let mapped = holders.flatMap(\.mapped).filter { $0.identity.device == mount.device }
        let used = files.reduce(0) { $0 + $1.allocated } + mapped.reduce(0) { $0 + $1.reserved }
        return ReservingMount(
            point: mount.point.string, pageSize: pageSize, least: least, unused: least - min(used, least))
    }

    private mutating func note(_ area: MappedArea, of process: CInt) {
        if !area.isShared {
            let pages = (try? PageFrames(of: process).anonymous(in: area.range, pageSize: area.pageSize)) ?? []
            anonymous[area.pageSize, default: AnonymousPages()].add(pages)
        }
        // Only root may follow this link.
        if let file = Self.file(MappedArea.link(process: process, area.range)) {
            held[file.identity] = file
        } else if area.isShared {
            let unknown = File(
                identity: area.file, path: area.path, pageSize: area.pageSize, size: 0, allocated: 0, links: 0)
            let least = max(held[area.file, default: unknown].allocated, area.mapped)
            held[area.file, default: unknown].allocated = least
        }
    }

    // MARK: Mounts

    private mutating func look(at mount: Mount) {
        // A directory is hidden if another file system is mounted over it.
        let point = mount.point.string
        guard let root = try? FileStatus(at: point), root.identity.device == mount.device,
            case .hugetlbfs(let bytes)? = try? FileSystemKind(at: point), let pageSize = PageSize(bytes: bytes)
        else { return hiddenDirectories.append(point) }
        var seen = Set(unopened.map(\.identity))
        var directories = [point]
        while let directory = directories.popLast() {
            guard let names = try? directoryEntries(directory) else {
                hiddenDirectories.append(directory)
                continue
            }
            for name in names where name != "." && name != ".." {
                let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
                guard let status = try? FileStatus(at: path, followingLinks: false),
                    status.identity.device == mount.device
                else { continue }
                if status.type == .directory { directories.append(path) }
                guard status.isRegular, held[status.identity] == nil, seen.insert(status.identity).inserted else {
                    continue
                }
                unopened.append(
                    File(
                        identity: status.identity, path: path, pageSize: pageSize, size: status.size,
                        allocated: status.allocated, links: status.links))
            }
        }
    }
}
