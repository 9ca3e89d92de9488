// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
package import LiveUpdatePlatform
package import SystemPackage

/// The places at which a preserved file has pages, as its handler recorded them. It is for display.
package struct PageMap: Sendable {
    /// Pages that follow each other in the file and, where frames are known, in memory.
    package struct Run: Equatable, Sendable {
        /// The place in the file, in bytes.
        package var place: Extent
        /// The page frame number of its first base page; nil where frames are not recorded or could not be read.
        package var frame: UInt64?
    }

    /// The size of the file in bytes.
    package let size: UInt64
    /// The offset of the next read or write.
    package let position: UInt64
    /// The size of the pages: base pages or huge pages.
    package let pageSize: PageSize
    /// The seals; nil where they are not recorded.
    package let seals: Seals?
    /// The path of the file; nil for a file without a name.
    package let path: FilePath?
    /// The runs in the file's order. A gap between two runs is a hole.
    package let runs: [Run]

    /// The readers for the records of each kind of file. A new kind needs a line here.
    private static let readers: [String: @Sendable (UInt64, any RecordSource) throws(LiveUpdateError) -> PageMap] = [
        MemfdRecord.compatible: { (data, source) throws(LiveUpdateError) in
            try PageMap(MemfdRecord(at: data, in: source), in: source)
        },
        HugeMemfdRecord.compatible: { (data, source) throws(LiveUpdateError) in
            try PageMap(HugeMemfdRecord(at: data, in: source), in: source)
        },
        HugetlbfsFileRecord.compatible: { (data, source) throws(LiveUpdateError) in
            try PageMap(HugetlbfsFileRecord(at: data, in: source), in: source)
        },
        DaxFileRecord.compatible: { (data, source) throws(LiveUpdateError) in
            try PageMap(DaxFileRecord(at: data, in: source), in: source)
        },
        DaxDeviceRecord.compatible: { (data, source) throws(LiveUpdateError) in
            try PageMap(DaxDeviceRecord(at: data, in: source))
        },
    ]

    /// Reads the record that a handler has stored.
    ///
    /// - Returns: nil for a kind of file that is not of this package.
    /// - Throws: EIO for bytes that cannot be such a record.
    package static func read(
        _ compatible: String, at data: UInt64, in source: some RecordSource
    ) throws(LiveUpdateError) -> PageMap? {
        guard let reader = readers[compatible] else { return nil }
        return try reader(data, source)
    }

    /// The bytes that the file takes in memory.
    package var present: UInt64 { runs.reduce(0) { $0 + $1.place.length } }

    init(_ record: MemfdRecord, in source: some RecordSource) throws(LiveUpdateError) {
        size = record.size
        position = record.position
        pageSize = .base
        seals = record.seals
        path = nil
        runs = try record.extents(in: source).map { Run(place: $0, frame: nil) }
    }

    init(_ record: DaxFileRecord, in source: some RecordSource) throws(LiveUpdateError) {
        size = record.size
        position = record.position
        pageSize = .base
        seals = nil
        path = record.path
        runs = try record.extents(in: source).map { Run(place: $0, frame: nil) }
    }

    init(_ record: DaxDeviceRecord) {
        size = record.memory.size
        position = 0
        pageSize = .base
        seals = nil
        path = nil
        let place = Extent(offset: 0, length: size)
        runs = [Run(place: place, frame: record.memory.start / PageSize.base.bytes)]
    }

    init(_ record: HugetlbfsFileRecord, in source: some RecordSource) throws(LiveUpdateError) {
        try self.init(record.huge, path: record.path, in: source)
    }

    init(_ record: HugeMemfdRecord, path: FilePath? = nil, in source: some RecordSource) throws(LiveUpdateError) {
        size = record.size
        position = record.position
        pageSize = record.pageSize
        seals = nil
        self.path = path
        runs = Self.runs(of: try record.pages(in: source), record.pageSize)
    }

    private static func runs(of pages: [HugePage], _ pageSize: PageSize) -> [Run] {
        var runs: [Run] = []
        for page in pages {
            let frame = page.frame == 0 ? nil : page.frame
            let place = Extent(offset: page.index * PageSize.base.bytes, length: pageSize.bytes)
            if let last = runs.last, last.place.end == place.offset, next(last) == frame {
                runs[runs.count - 1].place.length += place.length
            } else {
                runs.append(Run(place: place, frame: frame))
            }
        }
        return runs
    }

    /// The frame that would continue a run.
    private static func next(_ run: Run) -> UInt64? { run.frame.map { $0 + run.place.length / PageSize.base.bytes } }
}
