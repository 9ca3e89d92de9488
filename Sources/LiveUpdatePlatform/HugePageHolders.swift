// SPDX-License-Identifier: Apache-2.0

/// The holders of huge pages at one moment, as far as this process may see them. It is for display.
///
/// A page in use belongs to a file or to a private mapping of a process. A process has the file open or mapped, or the
/// file has a name on a hugetlbfs mount. The pool may have more pages in use than were found: see ``pages(of:)``.
public struct HugePageHolders: Sendable {
    /// A file on huge pages.
    public struct File: Hashable, Sendable {
        /// The device and inode number.
        public let identity: FileIdentity
        /// The name of the file. For a file without a name it is the text that the kernel shows: `/memfd:x (deleted)`
        public let path: String
        /// The page size of the file system.
        public let pageSize: PageSize
        /// The size in bytes.
        public let size: UInt64
        /// The allocated bytes. If the file could not be asked, they are the bytes that are known to be mapped, so
        /// there may be more.
        public var allocated: UInt64
        /// The number of names of the file: 0 for memory files.
        public let links: UInt64
    }

    /// The mappings that a process has of one file.
    public struct MappedFile: Hashable, Sendable {
        /// The device and inode number.
        public let identity: FileIdentity
        /// The name, like ``File/path``.
        public let path: String
        /// The page size of the file system.
        public let pageSize: PageSize
        /// The bytes in all mappings that the process has of this file.
        public var bytes: UInt64
    }

    /// An open descriptor of a file on huge pages.
    public struct OpenFile: Hashable, Sendable {
        /// The number of the descriptor in the process.
        public let descriptor: CInt
        /// The file that it is open on.
        public let file: File
    }

    /// A process that has files on huge pages open, or huge pages mapped.
    public struct Holder: Sendable {
        /// The number of the process.
        public let process: CInt
        /// The name of the process's command.
        public let command: String
        /// The files that it has mapped.
        public var mapped: [MappedFile] = []
        /// The files that it has open.
        public var open: [OpenFile] = []
    }

    /// The number of pages of one size, by place.
    public struct Pages: Equatable, Sendable {
        /// Pages in files that a process has open or mapped.
        public var held: UInt64 = 0
        /// Pages in private mappings that belong to no file.
        public var anonymous: UInt64 = 0
        /// Pages in files with a name that no process has open or mapped.
        public var unopened: UInt64 = 0

        /// All pages that were found. If the pool has more pages in use, no visible process or file holds them.
        public var accountedFor: UInt64 { held + anonymous + unopened }
    }

    /// The processes that hold huge pages, by number.
    public internal(set) var holders: [Holder] = []
    /// Files with a name on a hugetlbfs mount that no process has open or mapped, by path.
    public internal(set) var unopened: [File] = []
    /// Processes that this process may not look at.
    public internal(set) var hiddenProcesses: [CInt] = []
    /// Directories of hugetlbfs mounts that could not be read or that another mount hides.
    public internal(set) var hiddenDirectories: [String] = []

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

    /// The number of pages of one size by place. Each page counts once.
    public func pages(of size: PageSize) -> Pages {
        func count(_ files: some Sequence<File>) -> UInt64 {
            files.reduce(0) { $1.pageSize == size ? $0 + $1.allocated / size.bytes : $0 }
        }
        return Pages(
            held: count(held.values), anonymous: anonymous[size]?.count ?? 0, unopened: count(unopened))
    }
}
