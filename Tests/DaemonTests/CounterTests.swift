// SPDX-License-Identifier: Apache-2.0
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import Testing

@testable import LiveUpdateDaemon

/// The counters of luod, in the memory that keeper and orchestrators share.
@Suite struct CounterTests {
    @Test(
        "A blackout counts in the bucket of the least bound that it does not exceed",
        arguments: [(0, 0), (500_000, 0), (500_001, 1), (1_000_000, 1), (4_999_999_999, 11), (5_000_000_001, 12)])
    func buckets(blackout: UInt64, bucket: Int) { #expect(Counter.bucket(of: blackout) == bucket) }

    @Test("Each counter has its own place, and other memory stays as it is") func places() throws {
        let file = try ControlMemory.make()
        let memory = try ControlMemory(file.borrowed)
        #expect(Set(Counter.all).count == Counter.all.count)
        for (index, counter) in Counter.all.enumerated() { for _ in 0...index { memory.count(counter) } }
        for blackout: UInt64 in [400_000, 2_000_000, 2_000_001, 9_000_000_000] { memory.count(blackout: blackout) }
        #expect(memory.counters.map(\.count) == (1...UInt64(Counter.all.count)).map { $0 })
        let blackouts = memory.blackouts
        #expect(blackouts.sum == 9_004_400_001)
        #expect(blackouts.buckets.filter { $0.count > 0 }.map(\.count) == [1, 2, 1])
        #expect(blackouts.buckets.last == .init(upTo: nil, count: 1))
        #expect(memory.ticks(.keeper) == 0 && memory.takeRequests().isEmpty && memory.deaths == RequestDeaths())
    }

    @Test("The names are those of docs/metrics.md") func names() {
        #expect(
            Counter.update(.reloadKeeper, .calledOff).described(7)
                == .init(name: "updates", of: "keeper_reload", result: "called_off", count: 7))
        #expect(
            Counter.death(.orchestrator, .silence).described(1)
                == .init(name: "deaths", of: "orchestrator", result: "silence", count: 1))
    }
}
