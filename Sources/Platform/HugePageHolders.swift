/// Who holds huge pages, at one moment and as far as this process may see: to be shown.
///
/// A page in use belongs to a file (which somebody has open or mapped, or which has a name on a hugetlbfs mount), or to a
/// private mapping of a process. What is neither is told by the difference to what the pool says, see ``pages(of:)``.
public struct HugePageHolders: Sendable {
    /// A file on huge pages.
    public struct File: Hashable, Sendable {
        /// Device and inode.
        public let identity: FileIdentity
        /// Its name, or what the kernel shows for one that has none: `/memfd:x (deleted)`
        public let path: String
        /// Of its file system.
        public let pageSize: PageSize
        /// In bytes.
        public let size: UInt64
        /// In bytes; of a file that could not be asked, what is known to be mapped of it, at least.
        public var allocated: UInt64
        /// Names that it has: 0 for memory files.
        public let links: UInt64
    }

    /// What a process has mapped of a file.
    public struct MappedFile: Hashable, Sendable {
        /// Device and inode.
        public let identity: FileIdentity
        /// As ``File/path``.
        public let path: String
        /// Of its file system.
        public let pageSize: PageSize
        /// In bytes, of all its mappings of this file.
        public var bytes: UInt64
    }

    /// An open descriptor of a file on huge pages.
    public struct OpenFile: Hashable, Sendable {
        /// Its number in the process.
        public let descriptor: CInt
        /// What it is open on.
        public let file: File
    }

    /// A process that has mapped or open what is on huge pages.
    public struct Holder: Sendable {
        /// Its number.
        public let process: CInt
        /// The name of its command.
        public let command: String
        /// What it has mapped.
        public var mapped: [MappedFile] = []
        /// What it has open.
        public var open: [OpenFile] = []
    }

    /// Where the pages of one size are.
    public struct Pages: Equatable, Sendable {
        /// In files that a process has open or mapped.
        public var held: UInt64 = 0
        /// In private mappings, and in no file.
        public var anonymous: UInt64 = 0
        /// In files with a name that nobody has open or mapped.
        public var unopened: UInt64 = 0

        /// All that is found: what the pool has in use beyond that, nobody who can be looked at holds.
        public var accountedFor: UInt64 { held + anonymous + unopened }
    }

    /// By their numbers.
    public internal(set) var holders: [Holder] = []
    /// Files with a name on a hugetlbfs mount that nobody has open or mapped, by path.
    public internal(set) var unopened: [File] = []
    /// Processes that this one may not look at.
    public internal(set) var hiddenProcesses: [CInt] = []
    /// Directories of hugetlbfs mounts that could not be read, and those that another mount hides.
    public internal(set) var hiddenDirectories: [String] = []

    var held: [FileIdentity: File] = [:]
    var anonymous: [PageSize: AnonymousPages] = [:]

    /// Pages of private mappings. What processes share since a fork is one page, where frames may be known.
    struct AnonymousPages: Sendable {
        var frames: Set<UInt64> = []
        var unknown: UInt64 = 0

        var count: UInt64 { UInt64(frames.count) + unknown }

        mutating func add(_ more: [UInt64]) {
            for frame in more { if frame == 0 { unknown += 1 } else { frames.insert(frame) } }
        }
    }

    init() {}

    /// Where the pages of one size are, each counted once.
    public func pages(of size: PageSize) -> Pages {
        func count(_ files: some Sequence<File>) -> UInt64 {
            files.reduce(0) { $1.pageSize == size ? $0 + $1.allocated / size.bytes : $0 }
        }
        return Pages(
            held: count(held.values), anonymous: anonymous[size]?.count ?? 0, unopened: count(unopened))
    }
}
