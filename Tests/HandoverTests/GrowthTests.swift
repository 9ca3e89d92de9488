// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@Suite struct GrowthTests {
    private func arena(limit: UInt64) throws -> (MemoryFile, Arena) {
        let file = try MemoryFile("arena", size: 0)
        let arena = try Arena.format(try file.duplicate(), Arena.Options(initialSize: 4096, limit: limit))
        try arena.takeOver([], inUse: [])
        return (file, arena)
    }

    private func fill(_ arena: Arena, _ length: UInt64 = 4096) -> (ranges: [Extent], error: ArenaError?) {
        var ranges: [Extent] = []
        do throws(ArenaError) {
            while true { ranges.append(try arena.allocate(length)) }
        } catch {
            return (ranges, error)
        }
    }

    @Test func aNewArenaHasItsSizeAndNoMore() throws {
        let file = try MemoryFile("arena", size: 0)
        let arena = try Arena.format(try file.duplicate(), Arena.Options(initialSize: 20000, limit: 1 << 20))
        #expect(arena.size == 16384, "whole pages")
        #expect(try FileStatus(of: file.descriptor).size == 16384)
    }

    @Test func itGrowsAndTheFileSaysSo() throws {
        let (file, arena) = try arena(limit: 4 << 20)
        let before = arena.size
        let range = try arena.allocate(1 << 20)
        arena.write([UInt8](repeating: 0x5A, count: 1 << 20), at: range.offset)
        #expect(arena.size > before)
        let bytes = try file.bytes()
        #expect(UInt64(bytes.count) >= arena.size)
        #expect(integer(UInt64.self, bytes, at: 16) == arena.size)
        #expect(refusal(file) == nil)
    }

    @Test("At the limit the error is ENOSPC, and everything that exists goes on")
    func limit() throws {
        let limit: UInt64 = 256 << 10
        let (file, arena) = try arena(limit: limit)
        try arena.commit([record(1)], acquiring: true) { [] }
        let (ranges, error) = fill(arena)
        #expect(error?.gate == .space)
        #expect(error?.errno == .noSpace)
        #expect(ranges.count > 20)
        _ = fill(arena, 64)
        #expect(arena.size <= limit)
        #expect(try FileStatus(of: file.descriptor).size <= limit)

        #expect(arenaFailure { try arena.commit([record(2)], acquiring: true) { [record(1)] } }?.gate == .space)
        for number in 3..<400 {
            try arena.commit([record(number)], acquiring: false) { [record(1)] }
        }
        #expect(try arena.journalRecords().last == record(399), "what lets go is always committed")
        #expect(arenaFailure { try arena.allocateReserved(2048) } == nil, "there is room for a tree")
        arena.free(ranges)
        try arena.ensureRoom(1 << 16) { [record(1)] }
        #expect(fill(arena).ranges.count >= ranges.count / 4, "what was given back can be had again")
    }

    @Test("A journal of old records is rewritten before a new record is refused")
    func headroomOfWhatIsGone() throws {
        let (_, arena) = try arena(limit: 192 << 10)
        for number in 0..<700 { try arena.commit([record(number)], acquiring: false) { [record(1)] } }
        try arena.ensureHeadroom { [record(50000)] }
        try arena.commit([record(50001)], acquiring: true) { [record(50000)] }
        #expect(try arena.journalRecords() == [record(50000), record(50001)])
    }

    @Test func afterTheLimitRequestsWorkAgainOnceThereIsRoom() throws {
        let (_, arena) = try arena(limit: 256 << 10)
        let (ranges, _) = fill(arena)
        arena.free([Extent](ranges.prefix(3)))
        #expect(arenaFailure { try arena.commit([record(1)], acquiring: true) { [] } } == nil)
        #expect(arenaFailure { try arena.allocate(4096) } == nil)
    }

    @Test(arguments: [1 << 20, UInt64(1) << 62, .max]) func moreThanTheLimitAtOnce(length: UInt64) throws {
        let (_, arena) = try arena(limit: 256 << 10)
        let used = arena.used
        #expect(arenaFailure { try arena.allocate(length) }?.errno == .noSpace)
        #expect(arena.used == used)
    }

    @Test("A full file system, shown by a file that is sealed against growth")
    func theKernelRefusesToGrow() throws {
        let (file, arena) = try arena(limit: 1 << 20)
        try file.descriptor.addSeals(.grow)
        let error = arenaFailure { try arena.allocate(512 << 10) }
        #expect(error?.gate == .space)
        #expect(error?.errno == .notPermitted)
        try arena.commit([record(1)], acquiring: false) { [] }
        #expect(try arena.journalRecords() == [record(1)])
        #expect(refusal(file) == nil)
    }

    @Test("Only acquiring fails on a full file system: releasing, and a tree, have reserved room")
    func roomIsLeftInAFullFileSystem() throws {
        let (file, arena) = try arena(limit: 4 << 20)
        try arena.commit([record(1)], acquiring: true) { [] }
        try file.descriptor.addSeals(.grow)
        _ = fill(arena)
        #expect(fill(arena, 64).error?.errno == .notPermitted)
        #expect(arenaFailure { try arena.commit([record(2)], acquiring: true) { [record(1)] } }?.gate == .space)
        for number in 3..<400 { try arena.commit([record(number)], acquiring: false) { [record(1)] } }
        #expect(try arena.journalRecords().last == record(399))
        #expect(arenaFailure { try arena.allocateReserved(2048) } == nil, "there is room for a tree")
    }

    @Test("The arena grows by the necessary amount if the file system has no room for a reserve", .requiresRoot)
    func littleRoom() throws {
        let fileSystem = try SmallFileSystem(size: 320 << 10)
        let arena = try Arena.format(try fileSystem.makeFile(), Arena.Options(initialSize: 4096))
        try arena.takeOver([], inUse: [])
        #expect(fill(arena).error?.errno == .noSpace)
        #expect(arena.size > 256 << 10)
    }

    @Test func anArenaOpenedWithALowerLimitKeepsItsSize() throws {
        let (file, arena) = try arena(limit: 1 << 20)
        _ = try arena.allocate(512 << 10)
        let size = arena.size
        let opened = try Arena(opening: try file.duplicate(), Arena.Options(limit: 4096))
        #expect(opened.size == size)
    }

    @Test("A next boot with too little room for its journal allocates more, or changes nothing")
    func noRoomForTheNextJournal() throws {
        let (file, arena) = try arena(limit: 256 << 10)
        let room = try arena.allocate(64)
        let tree = try arena.allocateReserved(4096)
        arena.write([UInt8](repeating: 7, count: 4096), at: tree.offset)
        arena.publish(tree)
        let before = try file.bytes()
        let records = (0..<10000).map { record($0) }
        let tight = try Arena(opening: try file.duplicate(), Arena.Options(limit: 256 << 10))
        let error = arenaFailure { try tight.takeOver(records, inUse: [], journalIn: room) }
        #expect(error?.gate == .space && error?.errno == .noSpace)
        #expect(try file.bytes() == before)
        let wide = try Arena(opening: try file.duplicate(), Arena.Options(limit: 16 << 20))
        try wide.takeOver(records, inUse: [], journalIn: room)
        #expect(try wide.journalRecords() == records)
    }

    @Test("An arena that another process has grown beyond this process's limit is refused, without a trap")
    func grownBeyondTheLimit() throws {
        let (file, arena) = try arena(limit: 4 << 20)
        let waiting = try Arena(opening: try file.duplicate(), Arena.Options(limit: 64 << 10))
        let size = try arena.allocate(1 << 20).end
        let error = arenaFailure { try waiting.reload() }
        #expect(error?.gate == .size)
        #expect(error?.reason.contains("the arena has grown to \(arena.size) bytes") == true)
        #expect(arena.size >= size)
    }

    @Test func readingOutsideIsAnError() throws {
        let (_, arena) = try arena(limit: 1 << 20)
        for (offset, count) in [(arena.size, 1), (0, arena.size + 1), (.max, 1), (1, .max), (.max, .max)] {
            #expect(arenaFailure { try arena.read(at: offset, count: count) }?.gate == .record)
        }
        #expect(try arena.read(at: arena.size, count: 0) == [])
    }
}
