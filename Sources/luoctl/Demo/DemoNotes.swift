import FoundationEssentials
import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// What the demo remembers from boot to boot, and what a later run finds when this one is killed: a file beside its arena.
struct DemoNotes: Codable {
    /// One file, as it was planned, and then made.
    struct File: Codable {
        var token: UInt64
        /// On hugetlbfs.
        var path: String?
        var session: String
        var order: UInt8
        var size: UInt64
        var position: Int64
        var seals: UInt32
        var holes: Bool
        var crc: UInt32
        var device: UInt64
        var inode: UInt64
        /// Where its page frames stand in the notes' array, and how many.
        var frames: Range<Int>

        /// Whether a demo can have noted it.
        var isPossible: Bool {
            [PageSize.base, .huge2M, .huge1G].map(\.order).contains(order) && (1...1000).contains(token)
                && size <= DemoFile.largest && size % PageSize(order: order).bytes == 0
        }
    }

    /// How long something took, in nanoseconds.
    struct Phase: Codable {
        var update: UInt64
        var name: String
        var nanoseconds: UInt64
        /// Content that was read or written.
        var bytes: UInt64
    }

    var seed: UInt64
    var files: [File] = []
    var phases: [Phase] = []
    var leftOut: [String] = []
    var flbCalls: [String: Int] = [:]
    /// Findings of the updates so far.
    var findings: [Finding] = []
    /// What was found to be changed in the huge page pools: what matters, and what others may do.
    var poolFaults: [String] = []
    var poolChanges: [String] = []
    /// What was found of earlier runs that were killed.
    var recovered: [Recovered] = []
    /// What was damaged on purpose.
    var sabotage: String?
    var sabotageGuard: PoolGuard?
    /// The process that gives the reserved pages back, and the pipe whose end it waits for.
    var poolGuard: PoolGuard?
    var reserved: UInt64 = 0

    init(seed: UInt64) { self.seed = seed }

    static func load(from place: DemoPlace) throws -> DemoNotes {
        let data = try Data(contentsOf: URL(fileURLWithPath: place.notes.string))
        let notes = try JSONDecoder().decode(DemoNotes.self, from: data)
        guard notes.files.allSatisfy(\.isPossible) else { throw Exit.failed("\(place.notes) is damaged: remove it") }
        return notes
    }

    /// Whoever is killed while it writes leaves the notes as they were.
    func save(to place: DemoPlace) throws {
        try JSONEncoder().encode(self).write(to: URL(fileURLWithPath: place.newNotes.string))
        guard unsafe rename(place.newNotes.string, place.notes.string) == 0 else {
            throw SystemCallError("rename", Errno(rawValue: errno))
        }
    }

    /// Everything that changes the pools for this run is undone.
    func finishGuards() {
        sabotageGuard?.finish()
        poolGuard?.finish()
    }
}

/// The page frames of all files, as they were made: too many for the notes.
final class FramesFile {
    private let mapping: Mapping

    /// Makes it, with room for that many, or opens it.
    init(_ path: FilePath, making count: Int? = nil) throws {
        let options: FileDescriptor.OpenOptions =
            count == nil ? [.closeOnExec] : [.closeOnExec, .create, .exclusiveCreate]
        let file = OwnedDescriptor(
            taking: try FileDescriptor.open(path, .readWrite, options: options, permissions: .ownerReadWrite))
        if let count { try file.borrowed.allocate(offset: 0, length: UInt64(max(count, 1) * 8)) }
        let size = try FileStatus(of: file.borrowed).size
        mapping = try Mapping(of: file.borrowed, length: size, .shared(writable: true))
    }

    /// The frames of a file; none when the file with them is too short for it.
    subscript(range: Range<Int>) -> [UInt64] {
        // SAFETY: no further than the file is long, whose size nobody changes.
        guard unsafe range.upperBound * 8 <= mapping.bytes.count else { return [] }
        return range.map { unsafe mapping.bytes.load(fromByteOffset: $0 * 8, as: UInt64.self) }
    }

    func set(_ frames: [UInt64], from start: Int) {
        for (index, frame) in frames.enumerated() {
            // SAFETY: the file was made with room for all frames.
            unsafe mapping.bytes.storeBytes(of: frame, toByteOffset: (start + index) * 8, as: UInt64.self)
        }
    }
}

/// What one update did to one file.
struct Finding: Codable {
    var update: UInt64
    var token: UInt64
    /// Everything that did not hold, in words; empty when all did.
    var faults: [String]
    /// Pages whose frame is another one: shown, not a fault. Nil when frames may not be known.
    var moved: Int?
    var pages: Int
}
