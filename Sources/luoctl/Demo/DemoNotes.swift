// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The demo's notes from boot to boot, in a file beside its arena. If this run is killed, a later run finds them.
struct DemoNotes: Codable {
    /// The entry of a file. It is noted with the plan, and completed when the file is made.
    struct File: Codable {
        var token: UInt64
        /// The path on hugetlbfs.
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
        /// The range of its page frames in ``FramesFile``.
        var frames: Range<Int>

        /// Whether a demo can have noted this entry.
        var isPossible: Bool {
            [PageSize.base, .huge2M, .huge1G].map(\.order).contains(order) && (1...1000).contains(token)
                && size <= DemoFile.largest && size % PageSize(order: order).bytes == 0
        }
    }

    /// The duration of a phase, in nanoseconds.
    struct Phase: Codable {
        var update: UInt64
        var name: String
        var nanoseconds: UInt64
        /// The bytes of content that were read or written.
        var bytes: UInt64
    }

    var seed: UInt64
    var files: [File] = []
    var phases: [Phase] = []
    var leftOut: [String] = []
    var flbCalls: [String: Int] = [:]
    /// The findings of the updates so far.
    var findings: [Finding] = []
    /// The changes of the huge page pools. Faults matter. The other changes are harmless: other programs may make them.
    var poolFaults: [String] = []
    var poolChanges: [String] = []
    /// The findings about earlier runs that were killed.
    var recovered: [Recovered] = []
    /// The damage that was done on purpose.
    var sabotage: String?
    var sabotageGuard: PoolGuard?
    /// The process that releases the reserved pages when its pipe is closed.
    var poolGuard: PoolGuard?
    var reserved: UInt64 = 0

    init(seed: UInt64) { self.seed = seed }

    static func load(from place: DemoPlace) throws -> DemoNotes {
        let data = try Data(contentsOf: URL(fileURLWithPath: place.notes.string))
        let notes = try JSONDecoder().decode(DemoNotes.self, from: data)
        guard notes.files.allSatisfy(\.isPossible) else { throw Exit.failed("\(place.notes) is damaged: remove it") }
        return notes
    }

    /// Saves the notes. If the process is killed while it saves them, the old notes remain.
    func save(to place: DemoPlace) throws {
        try JSONEncoder().encode(self).write(to: URL(fileURLWithPath: place.newNotes.string))
        guard unsafe rename(place.newNotes.string, place.notes.string) == 0 else {
            throw SystemCallError("rename", Errno(rawValue: errno))
        }
    }

    /// Undoes everything that changed the pools for this run.
    func finishGuards() {
        sabotageGuard?.finish()
        poolGuard?.finish()
    }
}

/// The page frames of all files when they were made. They are too many for the notes.
final class FramesFile {
    private let mapping: Mapping

    /// Creates the file with room for `count` frames, or opens it if `count` is nil.
    init(_ path: FilePath, making count: Int? = nil) throws {
        let options: FileDescriptor.OpenOptions =
            count == nil ? [.closeOnExec] : [.closeOnExec, .create, .exclusiveCreate]
        let file = OwnedDescriptor(
            taking: try FileDescriptor.open(path, .readWrite, options: options, permissions: .ownerReadWrite))
        if let count { try file.borrowed.allocate(offset: 0, length: UInt64(max(count, 1) * 8)) }
        let size = try FileStatus(of: file.borrowed).size
        mapping = try Mapping(of: file.borrowed, length: size, .shared(writable: true))
    }

    /// The page frames of a preserved file; empty if this file is too short for the range.
    subscript(range: Range<Int>) -> [UInt64] {
        // SAFETY: the guard keeps the range inside the file, and no process changes the size of the file.
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

/// The effect of one update on one file.
struct Finding: Codable {
    var update: UInt64
    var token: UInt64
    /// The failed checks, in words; empty if all checks passed.
    var faults: [String]
    /// The number of pages that have another frame: shown, but not a fault. Nil if frames may not be read.
    var moved: Int?
    var pages: Int
}
