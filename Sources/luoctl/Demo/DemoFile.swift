// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The plan of one of the demo's files. All properties follow from the file's number and the seed, so every boot knows
/// the expected content.
struct DemoFile {
    let index: Int
    let size: UInt64
    let pageSize: PageSize
    let seed: UInt64
    /// The path on hugetlbfs; nil for a memory file.
    let path: String?

    init(index: Int, size: UInt64, pageSize: PageSize, seed: UInt64, path: String? = nil) {
        self.index = index
        self.size = size
        self.pageSize = pageSize
        self.seed = seed
        self.path = path
    }

    /// Makes the plan of a file from a run's notes.
    init(_ entry: DemoNotes.File, seed: UInt64) {
        self.init(
            index: Int(truncatingIfNeeded: entry.token &- 1), size: entry.size, pageSize: PageSize(order: entry.order),
            seed: seed, path: entry.path)
    }

    var token: UInt64 { UInt64(index) + 1 }
    /// The largest size that the command line accepts, in bytes.
    static let largest: UInt64 = 1 << 40
    static let sessions: [SessionName] = ["demo-a", "demo-b"]
    var session: SessionName { Self.sessions[index % 4 / 2] }
    var position: Int64 { Int64((UInt64(index) * 4097 + 17) % size) }

    /// Whether every third piece is a hole: in the last two of every four files, if they have enough pieces.
    var hasHoles: Bool { index % 4 >= 2 && size > 2 * piece }

    private var piece: UInt64 { max(pageSize.bytes, PageSize.huge2M.bytes) }

    /// The seals of the file: none, against a change of size, or against all writing. A file with a path cannot be
    /// sealed.
    var seals: Seals {
        if path != nil { return .seal }
        return switch index % 4 {
        case 1: [.grow, .shrink]
        case 2: [.write, .grow, .shrink, .seal]
        default: []
        }
    }

    /// The extents with data.
    var extents: [Extent] {
        guard hasHoles else { return [Extent(offset: 0, length: size)] }
        var extents: [Extent] = []
        for number in 0..<size / piece where number % 3 != 1 {
            if let last = extents.last, last.end == number * piece {
                extents[extents.count - 1].length += piece
            } else {
                extents.append(Extent(offset: number * piece, length: piece))
            }
        }
        return extents
    }

    var dataBytes: UInt64 { extents.reduce(0) { $0 + $1.length } }
    var pages: Int { Int(dataBytes / pageSize.bytes) }

    /// Makes the file and fills it.
    ///
    /// - Returns: the file and the checksum of its data.
    func make(_ progress: borrowing Progress) throws(SystemCallError) -> (file: FileDescriptor, crc: UInt32) {
        let file = try makeEmpty()
        var crc: UInt32 = 0
        for extent in extents {
            // Allocating first makes an empty pool an error; otherwise the store would raise SIGBUS.
            try file.borrowed.allocate(offset: extent.offset, length: extent.length)
            for piece in extent.pieces(of: pageSize) {
                let mapping = try Mapping(
                    of: file.borrowed, offset: piece.offset, length: piece.length, .shared(writable: true))
                unsafe fill(mapping.bytes, at: piece.offset)
                crc = unsafe CRC32C.of(UnsafeRawBufferPointer(mapping.bytes), continuing: crc)
                progress.advance(piece.length)
            }
        }
        try file.borrowed.setPosition(position)
        if path == nil, !seals.isEmpty { try file.borrowed.addSeals(seals) }
        return (file.release(), crc)
    }

    private func makeEmpty() throws(SystemCallError) -> OwnedDescriptor {
        guard let path else {
            return try makeMemoryFile(named: "luoctl-demo-\(token)", size: size, pageSize: pageSize)
        }
        let file = try makeFile(FilePath(path))
        try file.borrowed.setSize(size)
        return file
    }

    @unsafe
    private func fill(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        let words = unsafe bytes.bindMemory(to: UInt64.self)
        var state = (seed &+ token) &* 0x9E37_79B9_7F4A_7C15 &+ offset
        for index in words.indices {
            state &+= 0x9E37_79B9_7F4A_7C15
            unsafe words[index] = state ^ (state >> 29)
        }
    }

    /// Reads all data of the file, and its page frames while it is mapped.
    func read(
        _ file: FileDescriptor, _ extents: [Extent], _ progress: borrowing Progress
    ) throws(SystemCallError) -> (crc: UInt32, frames: [UInt64]) {
        let pagemap = try PageFrames()
        var crc: UInt32 = 0
        var frames: [UInt64] = []
        for piece in extents.flatMap({ $0.pieces(of: pageSize) }) {
            let mapping = try Mapping(
                of: file, offset: piece.offset, length: piece.length, .shared(writable: false))
            crc = unsafe CRC32C.of(UnsafeRawBufferPointer(mapping.bytes), continuing: crc)
            frames += try pagemap.frames(at: mapping.address, length: piece.length, pageSize)
            progress.advance(piece.length)
        }
        return (crc, frames)
    }
}

extension Extent {
    /// Splits the extent into parts of at most 64 MiB, or of one page, so that a progress bar moves.
    fileprivate func pieces(of pageSize: PageSize) -> [Extent] {
        let step = max(64 << 20, pageSize.bytes)
        return stride(from: offset, to: end, by: Int(step)).map { Extent(offset: $0, length: min(step, end - $0)) }
    }
}

extension PageFrames {
    fileprivate borrowing func frames(
        at address: UInt64, length: UInt64, _ pageSize: PageSize
    ) throws(SystemCallError) -> [UInt64] {
        if pageSize == .base { return try frames(at: address, basePages: Int(length / pageSize.bytes)) }
        var pages = stride(from: 0, to: length / PageSize.base.bytes, by: Int(pageSize.basePages)).map {
            HugePage(index: $0, frame: 0)
        }
        try fill(&pages, mappedAt: address)
        return pages.map(\.frame)
    }
}
