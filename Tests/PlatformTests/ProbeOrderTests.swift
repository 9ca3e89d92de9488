// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

/// The order in which a search looks at the places of a file.
@Suite struct ProbeOrderTests {
    /// The places in their order, at most `most` of them.
    private func places(_ order: ProbeOrder, _ most: Int = .max) -> [UInt64] {
        var order = order
        var places: [UInt64] = []
        while let series = order.series, places.count < most {
            places.append(series.next)
            order.move(to: series.next + series.stride)
        }
        return places
    }

    @Test("Each place comes once, in both orders, for every size") func once() {
        for count in [UInt64](0...260) + [1023, 1024, 1025] {
            #expect(places(.ascending(count)) == [UInt64](0..<count))
            #expect(places(.halving(count)).sorted() == [UInt64](0..<count))
        }
    }

    @Test("Both ends come first, then the middle, then the quarters") func ends() {
        #expect(places(.halving(17)) == [0, 16, 8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13, 15])
        let expected: [UInt64] = [0, 0x7FF_FFFF_FFFF, 0x400_0000_0000, 0x200_0000_0000, 0x600_0000_0000]
        #expect(places(.halving(1 << 43), 5) == expected)
    }

    @Test("An ascending search skips the places of a run") func skipped() {
        var order = ProbeOrder.ascending(10)
        order.skip(to: 6)
        #expect(places(order) == [7, 8, 9])
        var halves = ProbeOrder.halving(10)
        halves.skip(to: 6)
        #expect(halves == .halving(10))
    }
}
