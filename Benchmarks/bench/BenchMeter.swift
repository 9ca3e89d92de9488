// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// Times the phases of one round, or counts their work. It never does both, because counting takes time.
final class BenchMeter {
    private let isCounting: Bool
    private(set) var times: [BenchPhase: Double] = [:]
    private(set) var counts: [BenchPhase: BenchCounts] = [:]
    /// The bytes in the arena that preserving took.
    var arenaBytes = 0.0

    init(counting: Bool = false) { isCounting = counting }

    func measure(_ phase: BenchPhase, _ body: () throws -> Void) throws {
        if isCounting {
            counts[phase] = try BenchCounts.of(body)
        } else {
            times[phase] = try elapsed(body)
        }
    }

    /// Moves a part of a measured time to another phase.
    func split(_ phase: BenchPhase, nanoseconds: Double, from whole: BenchPhase) {
        guard let time = times[whole] else { return }
        times[phase] = nanoseconds
        times[whole] = max(time - nanoseconds, 0)
    }
}

/// The nanoseconds that a closure takes.
func elapsed(_ body: () throws -> Void) rethrows -> Double {
    let start = monotonicNanoseconds()
    try body()
    return Double(monotonicNanoseconds() - start)
}

/// The phases in the life of a preserved file, in order. A floor prints its times in the same order.
enum BenchPhase: String, CaseIterable {
    case preserve, freeze, publish, boot, retrieve, finish, unpreserve
}
