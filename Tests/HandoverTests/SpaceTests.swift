// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateHandover

@Suite struct SpaceTests {
    private let size: UInt64 = 64 << 10

    @Test func everythingButTheSuperblockIsFreeAtFirst() throws {
        var space = try ArenaSpace(size: size, inUse: [])
        #expect(space.used == 4096)
        #expect(space.take(size - 4096, alignment: 64) == Extent(offset: 4096, length: size - 4096))
        #expect(space.used == size)
        #expect(space.take(1, alignment: 64) == nil)
    }

    @Test(
        "Ranges in use may touch, but not overlap, nor leave the arena, nor lie in the superblock",
        arguments: [
            ([Extent(offset: 4096, length: 64), Extent(offset: 4160, length: 64)], true),
            ([Extent(offset: 4096, length: 65), Extent(offset: 4160, length: 64)], false),
            ([Extent(offset: 8192, length: 64), Extent(offset: 8192, length: 64)], false),
            ([Extent(offset: 64, length: 64)], false),
            ([Extent(offset: 65536 - 64, length: 64)], true),
            ([Extent(offset: 65536 - 64, length: 65)], false),
            ([Extent(offset: .max - 10, length: 64)], false),
            ([Extent(offset: 4096, length: .max)], false),
            ([Extent(offset: .max, length: .max)], false),
        ])
    func claims(inUse: [Extent], isPossible: Bool) {
        let error = arenaFailure { try ArenaSpace(size: size, inUse: inUse) }
        #expect((error == nil) == isPossible)
        if let error { #expect(error.gate == .record) }
    }

    @Test(arguments: [64, 128, 4096, 16384] as [UInt64]) func alignment(alignment: UInt64) throws {
        var space = try ArenaSpace(size: size, inUse: [Extent(offset: 4096, length: 64)])
        for _ in 0..<3 {
            let range = space.take(100, alignment: alignment)
            #expect(try #require(range).offset % alignment == 0)
        }
    }

    @Test func neighboursJoinWhateverTheOrder() throws {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            var space = try ArenaSpace(size: 4096 + 3 * 64, inUse: [])
            let ranges = (0..<3).compactMap { _ in space.take(64, alignment: 64) }
            #expect(ranges.count == 3)
            for index in order { space.give(ranges[index]) }
            #expect(space.used == 4096)
            #expect(space.take(3 * 64, alignment: 64) != nil, "given back in the order \(order), they are one run")
        }
    }

    @Test func holesAreUsedAgain() throws {
        var space = try ArenaSpace(size: size, inUse: [])
        var ranges: [Extent] = []
        while let range = space.take(1024, alignment: 64) { ranges.append(range) }
        for index in stride(from: 0, to: ranges.count, by: 2) { space.give(ranges[index]) }
        #expect(space.take(1025, alignment: 64) == nil, "no hole is that large")
        for _ in stride(from: 0, to: ranges.count, by: 2) { #expect(space.take(1024, alignment: 64) != nil) }
        #expect(space.take(1, alignment: 64) == nil)
    }

    @Test func growthJoinsTheLastRun() throws {
        var space = try ArenaSpace(size: 8192, inUse: [])
        space.extend(to: 16384)
        #expect(space.used == 4096)
        #expect(space.take(12288, alignment: 64) != nil)
    }

    @Test("Compared with a map of granules, no range is given twice, and all free space can be allocated")
    func model() throws {
        var generator = SeededGenerator(seed: announcedSeed("space of an arena"))
        for _ in 0..<Scale.count(40) {
            var space = try ArenaSpace(size: size, inUse: [])
            var owners = [Bool](repeating: false, count: Int(size) / 64)
            for granule in 0..<64 { owners[granule] = true }
            var taken: [Extent] = []
            for _ in 0..<300 {
                if Bool.random(using: &generator) || taken.isEmpty {
                    guard let range = space.take(UInt64(1 + generator.index(below: 3000)), alignment: 64) else {
                        continue
                    }
                    for granule in range.offset / 64..<range.end / 64 {
                        #expect(!owners[Int(granule)])
                        owners[Int(granule)] = true
                    }
                    taken.append(range)
                } else {
                    let range = taken.remove(at: generator.index(below: taken.count))
                    for granule in range.offset / 64..<range.end / 64 { owners[Int(granule)] = false }
                    space.give(range)
                }
                #expect(space.used == UInt64(owners.filter(\.self).count * 64))
            }
            for range in taken { space.give(range) }
            #expect(space.take(size - 4096, alignment: 64) != nil, "all of it is one run again")
        }
    }
}
