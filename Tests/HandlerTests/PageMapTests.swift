// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// Page maps that are read from the records of handlers.
@Suite struct PageMapTests {
    private let machine: Machine

    init() throws { machine = try Machine() }

    /// Preserves files, and reads their records through an inspection of the arena.
    private func inspected(_ files: TestFile...) throws -> (found: Inspection, files: [InspectedState.File]) {
        let session = try machine.standardBoot().orchestrator.createSession("s")
        for (index, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(index)) }
        let found = Inspection(try ArenaSnapshot(of: machine.file.descriptor))
        #expect(found.failures == [])
        return (found, try #require(found.state?.sessions.first?.files))
    }

    private func map(_ file: InspectedState.File, _ found: Inspection) throws -> PageMap {
        try #require(try PageMap.read(file.status.compatible, at: file.status.data, in: found.records(of: file)))
    }

    @Test func ofAMemfd() throws {
        let file = try TestFile(pages: [0, 1, 5], of: 8)
        try file.descriptor.setPosition(77)
        try file.descriptor.addSeals(.shrink)
        let (found, files) = try inspected(file)
        let map = try map(files[0], found)
        #expect(map.size == 8 * 4096 && map.position == 77 && map.pageSize == .base && map.seals == .shrink)
        #expect(map.runs.map(\.place) == extents(ofPages: [0, 1, 5]))
        #expect(map.runs.allSatisfy { $0.frame == nil })
        #expect(map.present == 3 * 4096)
    }

    @Test func ofAnEmptyFile() throws {
        let (found, files) = try inspected(try TestFile(size: 0))
        #expect(try map(files[0], found).runs == [])
    }

    @Test(.requiresHugePages(4)) func ofAHugeMemfd() throws {
        let file = try TestFile(pages: [0, 1, 3, 7], of: 8, pageSize: .huge2M)
        let (found, files) = try inspected(file)
        let map = try map(files[0], found)
        #expect(map.size == 16 << 20 && map.pageSize == .huge2M && map.seals == nil && map.present == 8 << 20)
        let record = try HugeMemfdRecord(at: files[0].status.data, in: found.records(of: files[0]))
        let pages = try record.pages(in: found.records(of: files[0]))
        #expect(frames(map).map(\.0) == [0, 1, 3, 7].map { $0 * 512 })
        #expect(frames(map).map(\.1) == pages.map { $0.frame == 0 ? nil : $0.frame })
    }

    @Test(.requiresRoot, .requiresHugePages(2)) func ofAFileOfHugetlbfs() throws {
        let mount = try HugetlbfsMount()
        let file = TestFile(try mount.makeFile("with a name", pages: 2))
        let (found, files) = try inspected(file)
        #expect(files[0].status.compatible == "hugetlbfs-file-v1")
        let map = try map(files[0], found)
        #expect(map.path == FilePath("\(mount.path)/with a name") && map.present == 4 << 20 && map.pageSize == .huge2M)
    }

    /// Each huge page of a map, with its frame.
    private func frames(_ map: PageMap) -> [(UInt64, UInt64?)] {
        map.runs.flatMap { run in
            stride(from: 0, to: run.place.length, by: Int(map.pageSize.bytes)).map { at in
                ((run.place.offset + at) / 4096, run.frame.map { $0 + at / 4096 })
            }
        }
    }

    /// A storage to write into, outside of any boot.
    private func scratch() throws -> Storage {
        let arena = try machine.openArena()
        try arena.claim(inUse: [])
        return Storage(arena)
    }

    @Test("A run continues only where both the file and memory do") func runs() throws {
        let storage = try scratch()
        let cases: [([HugePage], [PageMap.Run])] = [
            (
                [page(0, 4096), page(1, 4608)],
                [PageMap.Run(place: Extent(offset: 0, length: 4 << 20), frame: 4096)]
            ),
            (
                [page(0, 4096), page(1, 4096 + 1024)],
                [
                    PageMap.Run(place: Extent(offset: 0, length: 2 << 20), frame: 4096),
                    PageMap.Run(place: Extent(offset: 2 << 20, length: 2 << 20), frame: 5120),
                ]
            ),
            ([page(0, 0), page(1, 0)], [PageMap.Run(place: Extent(offset: 0, length: 4 << 20), frame: nil)]),
            (
                [page(0, 0), page(1, 512)],
                [
                    PageMap.Run(place: Extent(offset: 0, length: 2 << 20), frame: nil),
                    PageMap.Run(place: Extent(offset: 2 << 20, length: 2 << 20), frame: 512),
                ]
            ),
        ]
        for (pages, expected) in cases {
            let record = try HugeMemfdRecord(size: 8 << 20, position: 0, pages: pages, pageSize: .huge2M, in: storage)
            #expect(try PageMap(record, in: storage).runs == expected)
        }
    }

    private func page(_ number: UInt64, _ frame: UInt64) -> HugePage { HugePage(index: number * 512, frame: frame) }

    @Test func anotherHandlersFileHasNone() throws {
        let (found, files) = try inspected(try TestFile(size: 4096))
        #expect(try PageMap.read("other-v1", at: files[0].status.data, in: found.records(of: files[0])) == nil)
    }

    @Test func aRecordThatCannotBe() throws {
        let (found, files) = try inspected(try TestFile(pages: [1], of: 2))
        let data = files[0].status.data
        for (offset, word) in [(UInt64(0), UInt64(1)), (24, 1 << 40), (24, 0), (32, 0), (32, .max), (32, 4096)] {
            let before = integer(UInt64.self, try machine.file.bytes(), at: Int(data + offset))
            try machine.file.write(word: word, at: data + offset)
            let damaged = Inspection(try ArenaSnapshot(of: machine.file.descriptor))
            let file = try #require(damaged.state?.sessions.first?.files.first)
            #expect(damaged.failures.map(\.gate) == [.checksum])
            #expect(errno { try map(file, damaged) } == .ioError, "\(offset): \(word)")
            try machine.file.write(word: before, at: data + offset)
        }
        #expect(try map(files[0], found).present == 4096)
    }

    @Test("An array with a loop, and a file beyond the largest size, are refused at once")
    func hostileHugeRecords() throws {
        let storage = try scratch()
        let chunk = try storage.allocate(4096, alignment: 4096)
        let page = try storage.allocate(4096, alignment: 4096)
        var writer = ByteWriter()
        writer.put(chunk)
        for _ in 0..<511 { writer.put(page) }
        storage.write(writer.bytes, at: chunk)
        for (size, folios, pages) in [
            (UInt64(1) << 62, UInt64(1) << 40, UInt32.max), (UInt64.max, 1, 1), (1 << 62, 1 << 50, .max),
        ] {
            var record = ByteWriter()
            record.put(size)
            record.put(UInt64(0))
            record.put(folios)
            record.put(chunk)
            record.put(pages)
            record.put(UInt32(0))
            record.put(UInt8(9))
            let data = try storage.store(record.bytes)
            #expect(errno { try PageMap.read("huge-memfd-v1", at: data, in: storage) } == .ioError)
        }
    }
}
