import Foundation
import LiveUpdate
import Platform
import SystemPackage

/// What the demo remembers from boot to boot: in a preserved memory file of its own, beside the files that it is about.
struct DemoNotes: Codable {
    /// One file, as it was made.
    struct File: Codable {
        var token: UInt64
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
    }

    /// How long something took, in nanoseconds.
    struct Phase: Codable {
        var update: UInt64
        var name: String
        var nanoseconds: UInt64
        /// Content that was read or written.
        var bytes: UInt64
    }

    var files: [File] = []
    var phases: [Phase] = []
    var leftOut: [String] = []
    var flbCalls: [String: Int] = [:]
    /// Findings of the updates so far.
    var findings: [Finding] = []
    /// The process that gives the reserved pages back, and the pipe whose end it waits for.
    var poolGuard: PoolGuard?
    var reserved: UInt64 = 0

    static let token = UInt64.max
    static let session = "demo-a"
    /// In front of the array of page frames.
    static let textRoom: UInt64 = 4 << 20
}

/// The memory file that the notes are in: text first, then page frames.
final class NotesFile {
    let descriptor: OwnedDescriptor
    private let mapping: Mapping

    convenience init(making frames: Int) throws {
        let size = DemoNotes.textRoom + UInt64(max(frames, 1) * 8)
        let file = try makeMemoryFile(named: "luoctl-demo-notes", size: size)
        try file.borrowed.allocate(offset: 0, length: size)
        try self.init(opening: file.release())
    }

    init(opening file: FileDescriptor) throws {
        let owned = OwnedDescriptor(taking: file)
        let size = try FileStatus(of: owned.borrowed).size
        mapping = try Mapping(of: owned.borrowed, length: size, .shared(writable: true))
        descriptor = owned
    }

    func load() throws -> DemoNotes {
        // SAFETY: the file has this length, and nobody else maps it.
        let length = unsafe mapping.bytes.load(as: UInt64.self)
        guard length <= DemoNotes.textRoom - 8 else { throw Exit.failed("the demo's own notes are damaged") }
        let data = unsafe Data(mapping.bytes[8..<8 + Int(length)])
        return try JSONDecoder().decode(DemoNotes.self, from: data)
    }

    func save(_ notes: DemoNotes) throws {
        let data = try JSONEncoder().encode(notes)
        guard data.count < DemoNotes.textRoom - 8 else { throw Exit.failed("the demo's own notes are too long") }
        // SAFETY: it fits, by the line above.
        unsafe mapping.bytes.storeBytes(of: UInt64(data.count), as: UInt64.self)
        unsafe UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[8..<8 + data.count]).copyBytes(from: data)
    }

    func frames(_ range: Range<Int>) -> [UInt64] {
        // SAFETY: the file was made with room for all frames.
        range.map { unsafe mapping.bytes.load(fromByteOffset: Self.offset($0), as: UInt64.self) }
    }

    func setFrames(_ frames: [UInt64], from start: Int) {
        for (index, frame) in frames.enumerated() {
            // SAFETY: as in frames.
            unsafe mapping.bytes.storeBytes(of: frame, toByteOffset: Self.offset(start + index), as: UInt64.self)
        }
    }

    private static func offset(_ index: Int) -> Int { Int(DemoNotes.textRoom) + index * 8 }
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
